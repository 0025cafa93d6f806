"""`kill -9` and SIGSTOP of every kind of process: nothing is lost, nothing counts twice, nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from living import Entry, Living, freeze

from headrace.definitions.project import TopicDef
from headrace.runs.facts import Value
from headrace.store.sql.reads import streams as stream_rows
from headrace.store.sql.reads import topics as topic_rows

pytestmark = [pytest.mark.process, pytest.mark.headrace_project]

Make = Callable[..., Living]
STREAM = "headrace.shards.process"

HOLD = """
@hr.task
def numbers(n: int) -> list[int]:
    return list(range(n))

@hr.task
def hold(item: int, gate: str) -> int:
    sign(item)
    if item == 0:
        wait_for(gate)
    return item

@hr.task
def count(items: list[int]) -> int:
    sign(-1)
    return len(items)

@hr.pipeline
def held(gate: str, n: int = 3) -> int:
    return count(hr.map(lambda item: hold(item, gate), numbers(n)))
"""

STOPS = """
@hr.task(timeout="1s", retries=9, backoff="10ms")
def stop() -> None:
    sign(0)
    if hr.current().attempt == 1:
        os.kill(os.getpid(), 19)

@hr.pipeline
def stops() -> None:
    stop()
"""

FAN = """
@hr.task
def work(item: int) -> int:
    sign(item)
    if item >= 100:
        wait_for("gate")
    until = time.monotonic() + 0.005
    while time.monotonic() < until: pass
    return item * 2

@hr.task
def total(items: list[int]) -> int:
    return sum(items)

@hr.pipeline
def fan(n: int = 200) -> int:
    return total(work.map(numbers(n)))
"""

ONE = """
@hr.task
def one(n: int) -> int:
    sign(n)
    return n

@hr.pipeline
def single(n: int) -> int:
    return one(n)
"""

FLOW = """
events = hr.Topic("events", schema={"id": str, "x": int, "gate": str | None}, key="id", partitions=2)
out = hr.Topic("out", key="id", partitions=2)

@hr.stream(events, to=out, start="earliest")
def doubled(batch: pl.DataFrame) -> pl.DataFrame:
    for gate in batch["gate"].drop_nulls():
        (HERE / f"{gate} reached").touch()
        wait_for(gate)
    return batch.select("id", y=pl.col("x") * 2)
"""
EVENTS = TopicDef(
    name="events", schema={"id": "str", "x": "int", "gate": "str"}, required=("id", "x"), key="id", partitions=2
)
OUT = TopicDef(name="out", key="id", partitions=2)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """A project whose engine lives through all tests that leave it alone."""
    project = Living(tmp_path_factory.mktemp("served") / "project", HOLD + STOPS + ONE + FLOW)
    try:
        project.start()
        yield project
    finally:
        project.end()


def is_there(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def append_numbers(project: Living, numbers: range, gate: str = "") -> None:
    """Rows of these numbers; the first of them waits for the gate."""
    rows = [{"id": f"e{x}", "x": x, "gate": gate if gate and x == numbers[0] else None} for x in numbers]
    project.append(EVENTS, rows)


def is_read(project: Living) -> bool:
    at = {row.shard: row.next_offset for row in stream_rows.shards(project.store.database, "doubled")}
    heads = topic_rows.heads(project.store.database, "events")
    return all(at.get(partition) == head for partition, head in heads.items())


def expect_doubled(project: Living, numbers: range) -> None:
    """All is read, and each of these numbers came out once."""
    project.until(lambda: is_read(project), "all rows to be read")
    rows = [(id_, y) for id_, y in project.read(OUT).select("id", "y").rows() if y // 2 in numbers]
    assert Counter(rows) == Counter((f"e{x}", x * 2) for x in numbers)


def begun(project: Living, run: str, n: int = 3) -> Entry:
    """The entry of item 0, which is held, once all the other items of the run are accepted."""
    done = "SELECT count(*) FROM items WHERE run = ? AND node = 'hold' AND state = 'succeeded'"
    project.until(lambda: project.rows(done, run) == [(n - 1,)], "the others to be accepted")

    def held() -> Entry | None:
        return next((entry for entry in project.ledger("hold") if entry.run == run and entry.item == 0), None)

    return project.until(held, "item 0 to begin")


def signed(project: Living, run: str, task: str = "hold") -> list[tuple[int, int]]:
    """(item, attempt) of each entry."""
    return sorted((entry.item, entry.attempt) for entry in project.ledger(task) if entry.run == run)


# -- the engine lives --------------------------------------------------------------------------------------------------


def test_a_killed_worker_costs_one_attempt_of_the_task_it_was_in(served: Living) -> None:
    run = served.trigger("held", gate="a")
    os.kill(begun(served, run).pid, signal.SIGKILL)
    served.until(lambda: (0, 2) in signed(served, run), "the second attempt")
    served.open("a")
    assert served.ended(run) == "succeeded"
    served.audit(run)
    assert signed(served, run) == [(0, 1), (0, 2), (1, 1), (2, 1)]
    (lost,) = [fact for fact in served.kinds("AttemptLost") if fact.run == run]
    assert (lost.item, lost.attempt, lost.ends) == (0, 1, False)
    assert "SIGKILL" in lost.why


def test_a_worker_that_is_stopped_for_a_while_just_goes_on(served: Living) -> None:
    run = served.trigger("held", gate="b")
    held = begun(served, run)
    freeze(held.pid)
    served.open("b")
    assert served.ended(served.trigger("single", n=1)) == "succeeded", "the other worker goes on meanwhile"
    os.kill(held.pid, signal.SIGCONT)
    assert served.ended(run) == "succeeded"
    served.audit(run)
    assert signed(served, run) == [(0, 1), (1, 1), (2, 1)]


def test_items_reckoned_short_do_not_wait_behind_one_that_is_long(served: Living) -> None:
    served.open("short")
    assert served.ended(served.trigger("held", gate="short", n=100)) == "succeeded"
    run = served.trigger("held", gate="long", n=40)
    begun(served, run, 40)
    served.open("long")
    assert served.ended(run) == "succeeded"
    served.audit(run)
    assert signed(served, run) == [(item, 1) for item in range(40)]


def test_a_stopped_worker_is_ended_when_the_tasks_time_is_over(served: Living) -> None:
    run = served.trigger("stops")
    assert served.ended(run) == "succeeded"
    served.audit(run)
    failed = [fact for fact in served.kinds("AttemptFailed") if fact.run == run]  # the next one too, where all is slow
    assert all("took longer than its timeout of 1 s" in fact.error for fact in failed)
    first = served.ledger("stop")[0]
    assert (first.attempt, failed[0].attempt) == (1, 1)
    assert not is_there(first.pid)


def test_what_a_client_asked_is_done_though_it_died_at_once(served: Living) -> None:
    client = (
        "import os, signal, sys\n"
        "from headrace.store.sql.store import SqlStore\n"
        "store = SqlStore(sys.argv[1])\n"
        "store.ask('trigger', {'pipeline': 'single', 'params': {'n': 7}, 'by': 'me'}, key='mine', at_us=1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    died = subprocess.run([sys.executable, "-c", client, str(served.database)], check=False)
    assert died.returncode == -signal.SIGKILL
    served.until(lambda: [e for e in served.ledger("one") if e.item == 7], "the run nobody waits for")
    again = served.ask("trigger", "mine", pipeline="single", params={"n": 7})
    run = served.answer(again)["run"]
    assert served.ended(run) == "succeeded"
    assert [entry.run for entry in served.ledger("one") if entry.item == 7] == [run]


def test_a_run_in_a_process_that_dies_is_closed_by_the_living_engine(served: Living) -> None:
    alone = subprocess.Popen(
        [sys.executable, "-c", "import flow; flow.held.run(gate='c')"], cwd=served.root, env=served.environment
    )
    (entry,) = served.until(lambda: [e for e in served.ledger() if e.pid == alone.pid], "the run to begin")
    alone.kill()
    alone.wait()
    assert served.ended(entry.run) == "lost"
    assert served.error_of(entry.run)[0] == "the process that ran it died"
    served.until(lambda: f"run {entry.run} of held is lost" in served.said(), "the engine to say so")
    locks = served.home / "locks"
    served.until(lambda: not list(locks.glob("run-*.lock")), "the lock to be cleared")
    assert signed(served, entry.run) == [(0, 1)], "nobody goes on with it"


def test_a_stream_process_killed_in_a_batch_writes_each_row_once(served: Living) -> None:
    append_numbers(served, range(1000, 1400), "d")
    served.until((served.root / "d reached").exists, "the batch to begin")
    (stream,) = served.processes(STREAM)
    os.kill(stream, signal.SIGKILL)
    served.open("d")
    expect_doubled(served, range(1000, 1400))
    served.until(lambda: "stream-1 died (killed by SIGKILL); it starts again" in served.said(), "the news of it")
    assert not stream_rows.dead_letters(served.store.database, "doubled")


def test_a_stopped_stream_process_holds_nobody_up_and_goes_on_where_it_was(served: Living) -> None:
    append_numbers(served, range(2000, 2100), "e")
    served.until((served.root / "e reached").exists, "the batch to begin")
    (stream,) = served.processes(STREAM)
    freeze(stream)
    served.open("e")
    append_numbers(served, range(2100, 2200))
    assert served.ended(served.trigger("single", n=2)) == "succeeded"
    assert not is_read(served)
    os.kill(stream, signal.SIGCONT)
    expect_doubled(served, range(2000, 2200))
    assert served.processes(STREAM) == [stream]


# -- the engine dies ---------------------------------------------------------------------------------------------------


def test_an_engine_killed_amid_a_fan_out_leaves_nobody_behind_and_repeats_only_what_was_in_flight(living: Make) -> None:
    project = living(HOLD + FAN)
    project.start()
    run = project.trigger("fan")
    project.until(lambda: len(project.ledger()) >= 60, "sixty items")
    project.kill_engine()
    project.until(lambda: not project.processes(), "the workers to leave with their engine")
    project.open("gate")
    entered = {entry.item for entry in project.ledger()}
    accepted = {item for (item,) in project.rows("SELECT item FROM items WHERE node = 'work' AND state = 'succeeded'")}
    assert accepted < entered
    project.start()
    assert project.ended(run) == "succeeded"
    project.audit(run)
    times = Counter(entry.item for entry in project.ledger("work"))
    assert set(times) == set(range(200))
    assert {item for item, n in times.items() if n > 1} == entered - accepted
    assert max(times.values()) == 2
    ((result,),) = project.rows("SELECT result FROM items WHERE node = 'total'")
    assert msgspec.json.decode(result, type=Value).body == "39800"


def test_an_engine_killed_again_and_again_in_a_burst_of_requests_does_each_once(living: Make) -> None:
    project = living(ONE)
    project.start()
    asked = [project.ask("trigger", f"burst:{n}", pipeline="single", params={"n": n}) for n in range(60)]
    for enough in (5, 25):
        project.until(lambda least=enough: len(project.ledger()) > least, f"{enough} runs")
        project.kill_engine()
        project.start()
    runs = [project.answer(request)["run"] for request in asked]
    assert len(set(runs)) == 60
    for run in runs:
        assert project.ended(run) == "succeeded"
        project.audit(run)
    assert project.rows("SELECT count(*), count(DISTINCT key) FROM runs") == [(60, 60)]
    assert {entry.item for entry in project.ledger()} == set(range(60))
    head = project.store.head("engine")
    assert project.rows("SELECT count(*), max(seq) FROM facts WHERE log = 'engine'") == [(head, head)], "no gap"
    assert project.stop() == 0
    assert project.processes() == [], "who is asked to stop leaves nobody behind"


def test_an_engine_killed_over_a_stopped_worker_and_a_batch_is_followed_by_one_that_ends_both(living: Make) -> None:
    project = living(HOLD + FLOW)
    project.start()
    run = project.trigger("held", gate="task")
    held = begun(project, run)
    append_numbers(project, range(400), "batch")
    project.until((project.root / "batch reached").exists, "the batch to begin")
    freeze(held.pid)
    project.kill_engine()
    project.open("batch")
    project.until(lambda: not project.processes(STREAM), "the stream process to leave with its engine")
    assert is_there(held.pid), "it cannot see that its engine died"
    append_numbers(project, range(400, 500))
    project.start()
    project.until(lambda: not is_there(held.pid), "the stopped worker to be ended")
    project.open("task")
    assert project.ended(run) == "succeeded"
    project.audit(run)
    assert signed(project, run) == [(0, 1), (0, 2), (1, 1), (2, 1)]
    expect_doubled(project, range(500))


def test_an_engine_waits_for_space_on_the_disk_and_goes_on(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"disk full: needs the right to mount a small tmpfs ({done.stderr.strip()})")
    project = Living(disk / "p", HOLD, "")
    try:
        project.start()
        project.trigger("held", gate="g", n=2)
        project.until(lambda: len(project.ledger("hold")) >= 2, "both items have begun")
        _fill(disk / "ballast")
        project.open("g")  # a file without content takes no block
        project.until(lambda: "tries again" in project.said(), "the engine meets the full disk")
        assert project.engine.poll() is None
        (disk / "ballast").unlink()
        project.until(lambda: project.rows("SELECT state FROM runs") == [("succeeded",)], "the run has succeeded")
    finally:
        project.end()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
