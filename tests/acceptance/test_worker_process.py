"""Real worker processes: what they report, what they print, and how they die."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from living import PATIENCE_S

from headrace.errors import EngineUnavailableError
from headrace.executors import local
from headrace.executors.local import Death, LocalExecutor, end_strangers
from headrace.executors.protocol import Broken, Done, Failed, PinAnswer, PinAsked, Ready, Returned, Start, Upstream
from headrace.runs.effects import Effects
from headrace.runs.facts import Value
from headrace.runs.pool import LONG_US
from headrace.storage.local import LocalStorage
from headrace.storage.values import Values

pytestmark = pytest.mark.process

PROJECT = """
import logging, os, subprocess, sys, time, threading
from typing import Any
import headrace as hr

orders = hr.Table("orders")

@hr.task
def nothing() -> int: return 1
@hr.task
def add(a: int, b: int = 10) -> int: return a + b
@hr.task
async def later() -> str: return "later"
@hr.task
def speak() -> None:
    print("from print"); logging.getLogger("my.task").info("from logging"); sys.stderr.write("from stderr\\n")
    os.write(1, b"raw \\xff bytes\\n")
@hr.task
def many_lines() -> None:
    for n in range(1_000_000): print(n)
@hr.task
def child_speaks() -> None:
    pid = os.fork()
    if pid == 0:
        os.write(1, b"from the child\\n"); os._exit(0)
    os.waitpid(pid, 0)
    subprocess.run(["echo", "from a program"], check=True)
@hr.task
def child_comes_back() -> int:
    return os.fork()
@hr.task
def child_stays() -> int:
    pid = os.fork()
    if pid == 0:
        time.sleep(600); os._exit(0)
    return pid
@hr.task
def daemon() -> int:
    pid = os.fork()
    if pid == 0:
        os.setsid(); time.sleep(600); os._exit(0)
    return pid
@hr.task
def close_stdout() -> None:
    sys.stdout.close(); os.close(1)
@hr.task
def wander() -> None:
    os.chdir("/"); sys.stdout = open(os.devnull, "w")
@hr.task
def vanish() -> None: os._exit(3)
@hr.task
def segfault() -> None:
    import ctypes; ctypes.string_at(0)
@hr.task
def leave() -> None: sys.exit("done here")
@hr.task
def raises() -> None:
    def deeper(): raise ValueError("no such flight\\nsecond line")
    deeper()
@hr.task
def sleep(seconds: float) -> str:
    print("asleep", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end and not os.path.exists("wake"): time.sleep(0.01)
    return "slept"
@hr.task
def unstorable() -> Any: return threading.Lock()
@hr.task(to=orders)
def publish() -> list[int]: return [1, 2, 3]
@hr.task
def read_aside() -> None:
    import contextvars
    threading.Thread(target=contextvars.copy_context().run, args=(orders.read,), daemon=True).start()
    while True: time.sleep(0.01)
@hr.task
def read_twice(pin: int) -> int: return pin
@hr.task
def who() -> list[Any]:
    me = hr.current()
    return [me.run, me.task, me.item, me.attempt, me.key, me.token, os.getcwd()]
@hr.task(name="x/🚀'" + "y" * 10_000)
def strange_name() -> bytes: return b"z" * 10_000

@hr.pipeline
def all_of_them(seconds: float = 0.0, files: list = [1]) -> None:
    for task in (nothing, later, read_aside, speak, many_lines, child_speaks, child_comes_back, child_stays, close_stdout, wander,
                 vanish, daemon, segfault, leave, raises, unstorable, publish, who, strange_name):
        task()
    sleep(seconds)
    one = nothing.using(name="one")()
    add.using(name="add one")(one)
    add.using(name="add each").map(files)
    read_twice(orders.latest())
"""

T = TypeVar("T")


class Workers:
    """A LocalExecutor with one worker `w1` on the project, driven as an engine's loop drives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.code = folder / "code"
        self.code.mkdir()
        (self.code / "sample.py").write_text(PROJECT)
        self.executor = LocalExecutor(folder / "workers", folder / "logs")
        self.values = Values(LocalStorage(folder / "home" / "artifacts"))
        self.serial = 0
        self.given: dict[int, Start] = {}
        self.reports: list[Any] = []

    def spawn(self, name: str = "w1", *, project: str = "sample") -> Any:
        self.executor.spawn(
            name,
            wiring="worker_parts:make",
            home=self.folder / "home",
            root=self.folder,
            code_path=self.code,
            project=project,
            env={"PYTHONPATH": str(Path(__file__).parent)},
        )
        return self.until(lambda: next(iter(self.executor.receive(name)), None), name)

    def start(self, node: str, **more: Any) -> int:
        self.start_together(node, **more)
        return self.serial

    def start_together(self, *nodes: str, **more: Any) -> None:
        """In one frame, so that the worker has the second at hand when it ends the first."""
        self.give([Start(0, "run1", "all_of_them", node, **more) for node in nodes])

    def give(self, starts: list[Start]) -> None:
        given = [msgspec.structs.replace(start, serial=self.serial + n) for n, start in enumerate(starts, 1)]
        self.serial += len(given)
        self.given.update((start.serial, start) for start in given)
        self.executor.send("w1", given)

    def run(self, node: str, **more: Any) -> Any:
        self.start(node, **more)
        return self.report()

    def report(self) -> Any:
        """The next one. What it gives back, because this machine is slow, is given to it again."""
        return self.until(lambda: self.reports.pop(0) if self.reports or self._hear() else None)

    def at_work_since_us(self) -> int:
        """Since when an attempt runs, once one does."""

        def look() -> int | None:
            self._hear()
            return self.executor.begun("w1").since_us

        return self.until(look)

    def _hear(self) -> bool:
        """Whether there are reports."""
        for report in self.executor.receive("w1"):
            if isinstance(report, Returned):
                self.give([self.given[serial] for serial in report.serials])
            else:
                self.reports.append(report)
        return bool(self.reports)

    def death(self) -> Death:
        return self.until(lambda: next(iter(self.executor.dead()), None))

    def until(self, look: Callable[[], T | None], name: str = "w1", within_s: float = PATIENCE_S) -> T:
        deadline = time.monotonic() + within_s
        while (found := look()) is None:
            assert time.monotonic() < deadline, self.log()
            select.select([self.executor.fileno(name)], [], [], 0.01)
        return found

    def result(self, done: Any) -> Any:
        assert isinstance(done, Done), done
        return self.values.decode(done.result)

    def log(self, name: str = "w1") -> str:
        return (self.folder / "logs" / f"{name}.log").read_text(errors="replace")

    def said(self, report: Done | Failed) -> bytes:
        assert report.log is not None
        return (self.folder / "logs" / report.log.file).read_bytes()[report.log.start : report.log.end]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path)
    yield workers
    workers.executor.close(grace_s=0.0)


@pytest.fixture
def worker(workers: Workers) -> Workers:
    ready = workers.spawn()
    assert isinstance(ready, Ready), ready
    return workers


def pids_of_group(pgid: int) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == pgid and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found


def is_gone(pid: int, within_s: float = PATIENCE_S) -> bool:
    """Whether the process ends in time; one that nobody has waited for yet counts as gone."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.005)
    return False


class TestReports:
    def test_a_result_and_nothing_printed(self, worker: Workers):
        done = worker.run("nothing")
        assert worker.result(done) == 1
        assert done.log is None

    def test_an_upstream_result_and_an_async_task(self, worker: Workers):
        upstream = (Upstream("one", (), Value("json", body="5")),)
        assert worker.result(worker.run("add one", upstream=upstream)) == 15
        assert worker.result(worker.run("later")) == "later"

    def test_an_item_of_a_map_over_a_parameter(self, worker: Workers):
        assert worker.result(worker.run("add each", item=2, params='{"files": [1, 2, 30]}')) == 40

    def test_what_the_task_knows_of_itself(self, worker: Workers):
        done = worker.run("who", attempt=2, epoch=3, key="k", token=9)
        run, task, item, attempt, key, token, cwd = worker.result(done)
        assert (run, task, item, attempt, key, token) == ("run1", "who", (0,), 2, "k", 9)
        assert cwd == str(worker.folder)

    def test_an_exception_shows_the_users_frames_only(self, worker: Workers):
        failed = worker.run("raises")
        assert failed.error == "ValueError: no such flight"
        assert "deeper" in failed.detail
        assert "attempt.py" not in failed.detail
        assert failed.retryable

    def test_sys_exit_fails_the_attempt_and_not_the_worker(self, worker: Workers):
        failed = worker.run("leave")
        assert failed.error == "SystemExit: the task called sys.exit('done here')"
        assert worker.result(worker.run("nothing")) == 1

    def test_a_result_that_cannot_be_stored(self, worker: Workers):
        failed = worker.run("unstorable")
        assert "HR1401" in failed.error
        assert "the result of task 'unstorable' is a _thread.lock" in failed.error
        assert not failed.retryable

    def test_a_published_table_travels_with_the_result(self, worker: Workers):
        done = worker.run("publish")
        effects = msgspec.json.decode(done.effects, type=Effects)
        assert [(write.table, write.rows) for write in effects.tables] == [("orders", 3)]

    def test_a_pin_is_asked_for_and_waited_for(self, worker: Workers):
        worker.start("read_twice")
        asked = worker.report()
        assert asked == PinAsked(1, "table:orders", 7)
        worker.executor.send("w1", [PinAnswer(1, "table:orders", 4)])
        done = worker.report()
        assert worker.result(done) == 4
        assert done.reads[0].pin == 4

    def test_a_cancel_that_another_thread_of_the_task_hears_interrupts_the_task(self, worker: Workers):
        worker.start("read_aside")
        assert worker.report() == PinAsked(1, "table:orders", 7)
        worker.executor.cancel("w1", 1)
        assert isinstance(worker.report(), Failed)
        assert worker.result(worker.run("nothing")) == 1

    def test_a_refused_pin_fails_the_attempt(self, worker: Workers):
        worker.start("read_twice")
        worker.report()
        worker.executor.send("w1", [PinAnswer(1, "table:orders", None, error="orders has no version")])
        assert "orders has no version" in worker.report().error

    def test_a_task_with_a_huge_strange_name(self, worker: Workers):
        name = "x/🚀'" + "y" * 10_000
        done = worker.run(name)
        assert worker.result(done) == b"z" * 10_000
        assert len(done.result.path) < 200

    def test_a_batch_comes_back_in_order(self, worker: Workers):
        worker.start_together(*["nothing"] * 1000)
        serials = [worker.report().serial for _ in range(1000)]
        assert serials == sorted(set(serials))

    def test_a_short_tasks_report_does_not_wait_for_the_long_task_behind_it(self, worker: Workers):
        worker.start_together("nothing", "sleep", params='{"seconds": 600}')
        assert worker.report().serial == 1
        assert worker.at_work_since_us(), "the long one is still at work"

    def test_what_comes_while_a_task_runs_is_given_back_too_and_other_messages_are_heard(self, worker: Workers):
        worker.start("sleep", params='{"seconds": 60}')
        worker.until(lambda: worker.executor.begun("w1").since_us)
        worker.start("nothing")
        (back,) = worker.until(lambda: worker.executor.receive("w1") or None)
        assert (back.serials, back.serial) == ((2,), 1)
        worker.executor.cancel("w1", 1)
        assert isinstance(worker.report(), Failed)

    def test_what_waits_behind_a_long_task_is_given_back_unbegun(self, worker: Workers):
        worker.start_together("sleep", "nothing", "nothing", params='{"seconds": 600}')
        (back,) = worker.until(lambda: worker.executor.receive("w1") or None)
        assert (back.serials, back.serial) == ((2, 3), 1)
        assert back.running_us >= LONG_US
        assert worker.executor.begun("w1").serial == 1
        worker.start("nothing")
        worker.executor.cancel("w1", 1)
        assert [type(worker.report()) for _ in range(2)] == [Failed, Done], "it goes on with what comes then"
        assert worker.executor.begun("w1").serial == 4


class TestOutput:
    def test_everything_a_task_writes_is_found_by_its_span(self, worker: Workers):
        worker.run("nothing")
        said = worker.said(worker.run("speak"))
        assert said.startswith(b"from print\n")
        assert b" INFO my.task from logging\n" in said
        assert b"from stderr\n" in said
        assert said.endswith(b"raw \xff bytes\n")

    def test_children_are_heard_too(self, worker: Workers):
        assert worker.said(worker.run("child_speaks")) == b"from the child\nfrom a program\n"

    def test_a_million_lines(self, worker: Workers):
        said = worker.said(worker.run("many_lines"))
        assert said.count(b"\n") == 1_000_000

    def test_a_task_that_closes_stdout_silences_only_itself(self, worker: Workers):
        worker.run("close_stdout")
        assert worker.said(worker.run("speak")).startswith(b"from print\n")

    def test_a_task_that_moves_elsewhere_moves_alone(self, worker: Workers):
        worker.run("wander")
        assert worker.said(worker.run("speak")).startswith(b"from print\n")
        assert worker.result(worker.run("who"))[6] == str(worker.folder)

    def test_last_words_before_a_kill_are_kept(self, worker: Workers):
        worker.start("sleep", params='{"seconds": 600}')
        worker.until(lambda: "asleep" in worker.log() or None)
        worker.executor.kill("w1")
        worker.death()
        assert "asleep" in worker.log()


class TestDeath:
    def test_kill_9_tells_what_had_begun(self, worker: Workers):
        worker.run("nothing")
        worker.start_together(*["sleep"] * 3, params='{"seconds": 600}')
        worker.until(lambda: worker.executor.begun("w1").serial == 2 or None)
        assert worker.executor.begun("w1").since_us is not None
        worker.executor.kill("w1")
        death = worker.death()
        assert (death.worker, death.begun) == ("w1", 2)
        assert "SIGKILL" in death.why
        assert len(worker.executor) == 0

    def test_an_idle_worker_has_begun_nothing_since(self, worker: Workers):
        worker.run("nothing")
        assert worker.until(lambda: worker.executor.begun("w1").since_us is None or None)
        assert worker.executor.begun("w1").serial == 1

    @pytest.mark.parametrize(("node", "why"), [("vanish", "exited with code 3"), ("segfault", "SIGSEGV")])
    def test_a_task_that_ends_its_process(self, worker: Workers, node: str, why: str):
        pid = worker.executor._processes["w1"].popen.pid
        worker.run("nothing")
        worker.start(node)
        death = worker.death()
        assert why in death.why
        assert death.begun == 2
        assert not Path(f"/proc/{pid}").exists()

    def test_a_segfault_leaves_its_stack_in_the_log(self, worker: Workers):
        worker.start("segfault")
        worker.death()
        assert "in segfault" in worker.log()

    def test_killing_a_worker_ends_its_children(self, worker: Workers):
        child = worker.result(worker.run("child_stays"))
        worker.executor.kill("w1")
        worker.death()
        assert is_gone(child)

    def test_a_forked_child_that_returns_does_none_of_the_workers_work(self, worker: Workers):
        worker.start_together("child_comes_back", "speak", "sleep", params='{"seconds": 0.2}')
        assert worker.result(worker.report()) > 0
        assert [worker.result(worker.report()) for _ in range(2)] == [None, "slept"]
        assert worker.log().count("from print") == 1

    def test_a_child_left_behind_neither_hides_the_death_nor_outlives_it(self, worker: Workers):
        child = worker.result(worker.run("child_stays"))
        worker.start("vanish")
        assert select.select([worker.executor.fileno("w1")], [], [], PATIENCE_S)[0], "the socket is at its end"
        assert "code 3" in worker.death().why
        assert is_gone(child)

    def test_a_daemon_of_a_task_does_not_hold_the_workers_lock(self, worker: Workers):
        daemon = worker.result(worker.run("daemon"))
        os.kill(worker.executor._processes["w1"].popen.pid, signal.SIGKILL)
        try:
            assert end_strangers(worker.folder / "workers") == {"w1": 1}
        finally:
            os.kill(daemon, signal.SIGKILL)

    def test_a_project_that_does_not_import(self, workers: Workers):
        (workers.code / "broken.py").write_text("import no_such_module")
        broken = workers.spawn(project="broken")
        assert isinstance(broken, Broken)
        assert "no_such_module" in broken.error
        assert "code 1" in workers.death().why

    def test_a_stopped_worker_finishes_what_it_has(self, worker: Workers):
        for _ in range(3):
            worker.start("nothing")
        deaths = worker.executor.close(grace_s=PATIENCE_S)
        assert "code 0" in deaths[0].why
        ended = [report.serial for report in deaths[0].last if isinstance(report, Done)]
        back = [serial for report in deaths[0].last if isinstance(report, Returned) for serial in report.serials]
        assert [*ended, *back] == [1, 2, 3], "all of it, but what is given back where the machine is slow"

    def test_one_that_does_not_even_die_when_killed_is_left_behind(
        self, worker: Workers, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(local, "KILLED_S", 0.05)
        monkeypatch.setattr(LocalExecutor, "_has_ended", lambda self, worker: False)  # its disk hangs, say
        process = worker.executor._processes["w1"].popen
        (death,) = worker.executor.close(grace_s=0.0)
        assert not death.is_gone
        assert death.why == f"process {process.pid} was killed and does not end"
        process.wait()

    def test_a_name_in_use_is_refused(self, worker: Workers):
        with pytest.raises(EngineUnavailableError, match="running already"):
            worker.spawn()


class TestCancel:
    def test_a_running_attempt_is_interrupted_and_the_next_one_runs(self, worker: Workers):
        worker.start("sleep", params='{"seconds": 600}')
        worker.start("nothing")
        worker.until(lambda: "asleep" in worker.log() or None)
        worker.executor.cancel("w1", 1)
        failed = worker.report()
        assert (failed.serial, failed.error) == (1, "the run was cancelled")
        assert worker.result(worker.report()) == 1

    def test_a_waiting_attempt_never_begins(self, worker: Workers):
        worker.start("sleep", params='{"seconds": 600}')
        worker.start("vanish")
        worker.executor.cancel("w1", 2)
        (worker.folder / "wake").touch()
        heard: list[Any] = []
        worker.until(lambda: heard.extend(worker.executor.receive("w1")) or (heard[1:] or None))
        (done,) = (report for report in heard if isinstance(report, Done))
        (other,) = (report for report in heard if report is not done)
        assert done.serial == 1
        if isinstance(other, Returned):  # before it heard of the cancel
            assert other.serials == (2,)
        else:
            assert (other.serial, other.error) == (2, "the run was cancelled")
        assert worker.executor.begun("w1").serial == 1

    def test_one_that_waits_for_a_pin(self, worker: Workers):
        worker.start("read_twice")
        worker.report()
        worker.executor.cancel("w1", 1)
        assert worker.report().error == "the run was cancelled"

    def test_a_late_cancel_changes_nothing(self, worker: Workers):
        worker.run("nothing")
        worker.executor.cancel("w1", 1)
        assert worker.result(worker.run("nothing")) == 1


ENGINE = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_worker_process import Workers
workers = Workers(Path({folder!r}))
workers.spawn()
workers.start("sleep", params='{{"seconds": 600}}') if {busy} else None
workers.start("child_stays") if not {busy} else None
while workers.executor.begun("w1").serial == 0: time.sleep(0.01)
print(workers.executor._processes["w1"].popen.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("busy", [True, False])
def test_a_worker_ends_with_its_engine_and_the_next_engine_is_sure_of_it(tmp_path: Path, busy: bool):
    code = ENGINE.format(tests=str(Path(__file__).parent), folder=str(tmp_path), busy=busy)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        pid = int(engine.stdout.readline())
        assert pids_of_group(pid)
        engine.kill()
    assert is_gone(pid)
    assert end_strangers(tmp_path / "workers")["w1"] == 1
    assert all(is_gone(child) for child in pids_of_group(pid)), "a child of it lives on"
    assert list((tmp_path / "workers").iterdir()) == []


def test_a_stranger_that_does_not_notice_is_ended(worker: Workers):
    worker.run("nothing")
    pid = worker.executor._processes["w1"].popen.pid
    os.kill(pid, signal.SIGSTOP)
    assert end_strangers(worker.folder / "workers") == {"w1": 1}
    assert "SIGKILL" in worker.death().why


def test_locks_of_the_dead_are_cleared(tmp_path: Path):
    (tmp_path / "w9.lock").write_text("999999 w9\n")
    assert end_strangers(tmp_path) == {"w9": 0}
    assert not (tmp_path / "w9.lock").exists()
