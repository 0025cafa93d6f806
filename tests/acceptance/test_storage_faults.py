"""Disks that refuse and bytes that change, under real processes: it is said plainly, nothing acknowledged is lost, nothing
is half written, and work goes on by itself when the disk does."""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from living import COMMAND, PATIENCE_S, Living

from headrace.definitions.project import TopicDef
from headrace.store.sql.reads import streams as stream_rows
from headrace.store.sql.reads import topics as topic_rows
from headrace.testing.auditor.audit import audit
from headrace.testing.auditor.evidence import Evidence

pytestmark = [pytest.mark.process, pytest.mark.headrace_project]

SOURCE = Path(__file__).parents[1] / "faults" / "failing_disk.c"
WAL = "headrace.db-wal"
PAGE = 16384
CODE = """
events = hr.Topic("events", schema={"id": str, "x": int}, key="id", partitions=1)
out = hr.Topic("out", key="id", partitions=1)
daily = hr.Table("daily")
level = hr.Model("level")

@hr.stream(events, to=out, start="earliest")
def doubled(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.select("id", y=pl.col("x") * 2)

@hr.task
def one(n: int) -> int:
    print("line of", n)
    return n

@hr.pipeline
def single(n: int = 1) -> int:
    return one(n)

@hr.task
def large(n: int) -> list:
    return ["x" * 100] * n

@hr.pipeline
def big(n: int = 1000) -> None:
    large(n)

@hr.task(to=daily)
def table() -> pl.DataFrame:
    return pl.DataFrame({"n": range(5000)})

@hr.pipeline
def tabled() -> None:
    table()
"""
EVENTS = TopicDef(name="events", schema={"id": "str", "x": "int"}, required=("id", "x"), key="id", partitions=1)
OUT = TopicDef(name="out", key="id", partitions=1)


class Disk:
    """The disk below a project: says which calls on which paths fail, from now on, in processes that run already."""

    def __init__(self, project: Living, library: Path) -> None:
        self._control = project.root / "disk"
        project.environment |= {"FAILING_DISK": str(self._control), "LD_PRELOAD": str(library)}

    def fails(self, calls: str, part: str, number: int, first: int = 1) -> None:
        """`calls` is "write", "fsync" or both with a comma; `part` is contained in the path."""
        self._control.write_text(f"{calls} {part} {number} {first}\n")

    def heals(self) -> None:
        self._control.write_text("")

    @property
    def refusals(self) -> list[str]:
        """Lines "pid call path" of the calls that failed so far."""
        log = self._control.with_name("disk.log")
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("a disk that fails: needs Linux and a C compiler (apt-get install gcc)")
    built = tmp_path_factory.mktemp("faults") / "failing_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(built), str(SOURCE), "-ldl"], check=True)
    return built


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Iterator[tuple[Living, Disk]]:
    """A project that is served on a disk that can be made to fail."""
    project = Living(tmp_path_factory.mktemp("served") / "project", CODE)
    disk = Disk(project, library)
    try:
        project.start()
        shard = "SELECT 1 FROM shards WHERE stream = 'doubled'"
        project.until(lambda: project.rows(shard), "the stream to be served")
        yield project, disk
    finally:
        project.end()


def said_since(project: Living, length: int) -> str:
    return project.said()[length:]


def ids(project: Living, topic: TopicDef = EVENTS) -> Counter[str]:
    return Counter(project.read(topic)["id"].to_list())


def is_read(project: Living) -> bool:
    at = {row.shard: row.next_offset for row in stream_rows.shards(project.store.database, "doubled")}
    return at == topic_rows.heads(project.store.database, "events")


# -- a disk that refuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "number", "said"),
    [
        ("write", errno.ENOSPC, "HR4020 the disk is full"),
        ("write", errno.EIO, "HR4080 the disk refused to read or write"),
        ("fsync", errno.EIO, "HR4080 the disk refused to read or write"),
    ],
)
def test_a_client_whose_disk_refuses_has_written_nothing_and_says_so(
    served: tuple[Living, Disk], calls: str, number: int, said: str
) -> None:
    project, _ = served
    # A disk of the client's own, so that the engine goes on undisturbed.
    own = str(project.root / "client")
    (project.root / "client").write_text(f"{calls} {WAL} {number} 1\n")
    before, requests = ids(project), project.rows("SELECT count(*) FROM inbox")

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return project.command(*words, FAILING_DISK=own)

    row = json.dumps({"id": f"{calls}{number}", "x": 1})
    commands = [("topics", "append", "events", "--json-row", row)]
    if calls == "fsync":
        commands += [("trigger", "single"), ("run", "single")]
    for words in commands:
        refused = call(*words)
        assert refused.returncode == 6, refused.stderr
        assert said in refused.stderr
        assert str(project.database) in refused.stderr
        assert "try" in refused.stderr
    assert (ids(project), project.rows("SELECT count(*) FROM inbox")) == (before, requests)
    (project.root / "client").write_text("")
    assert call("topics", "append", "events", "--json-row", row).returncode == 0
    assert ids(project) == before + Counter([f"{calls}{number}"])


@pytest.mark.parametrize("part", ["headrace.db", "artifacts", "place.json", "manifest.new"])
@pytest.mark.parametrize(
    ("calls", "number", "said"), [("write", errno.ENOSPC, "HR4020 the disk is full"), ("fsync", errno.EIO, "HR4080")]
)
def test_a_backup_on_a_disk_that_refuses_is_none(
    served: tuple[Living, Disk], tmp_path: Path, part: str, calls: str, number: int, said: str
) -> None:
    project, _ = served
    if not (project.root / ".headrace" / "artifacts").exists():
        assert project.ended(project.trigger("tabled")) == "succeeded"
    own = {**project.environment, "FAILING_DISK": str(tmp_path / "disk")}
    folder = tmp_path / "kept"
    (tmp_path / "disk").write_text(f"{calls} {folder}/{part} {number} 1\n")

    def back_up() -> subprocess.CompletedProcess[str]:
        words = [*COMMAND, "backup", str(folder)]
        return subprocess.run(
            words, cwd=project.root, env=own, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )

    full = back_up()
    assert full.returncode == 6, full.stderr
    assert said in full.stderr
    assert str(folder) in full.stderr
    assert "Traceback" not in full.stderr
    assert list(folder.iterdir()) == [], "nothing that could be taken for a backup"
    none = project.command("restore", str(folder))
    assert "HR4042 this is not a whole backup" in none.stderr
    (tmp_path / "disk").write_text("")
    assert back_up().returncode == 0, "the same folder, when there is space"


@pytest.mark.parametrize(("calls", "number"), [("fsync", errno.EIO), ("write", errno.ENOSPC)])
def test_engine_and_stream_wait_for_a_disk_that_refuses_and_lose_nothing(
    served: tuple[Living, Disk], calls: str, number: int
) -> None:
    project, disk = served
    seen, refused = len(project.said()), len(disk.refusals)
    processes = project.processes("shards.process")
    disk.fails(calls, WAL, number)
    # The test's own connection has no such disk: what it asks for is stored.
    request = project.ask("trigger", f"during {calls}{number}", pipeline="single", params={"n": number})
    project.append(EVENTS, [{"id": f"during {calls}{number}", "x": number}])
    project.until(lambda: "the engine tries again every 1 s" in said_since(project, seen), "the engine to say so")
    assert ("the disk is full" if number == errno.ENOSPC else "the disk refused") in said_since(project, seen)
    assert project.engine is not None
    both = {str(pid) for pid in (project.engine.pid, *processes)}
    project.until(lambda: both <= {line.split()[0] for line in disk.refusals[refused:]}, "both to meet it")
    assert project.store.answer(request) is None
    assert project.rows("SELECT count(*) FROM shards WHERE stream = 'doubled' AND is_stopped") == [(0,)]
    disk.heals()
    assert project.ended(project.answer(request)["run"]) == "succeeded"
    project.until(lambda: is_read(project), "the stream to read on")
    assert ids(project, OUT) == ids(project)
    assert project.processes("shards.process") == processes, "nobody had to die for it"
    assert project.engine.poll() is None
    assert "Traceback" not in said_since(project, seen)


def test_a_failed_fsync_is_never_tried_again_on_the_connection_that_met_it(library: Path, tmp_path: Path) -> None:
    control = tmp_path / "disk"
    script = f"""
import sqlite3, sys
from pathlib import Path
from headrace.errors import StoreError
from headrace.store.sql.store import SqlStore
store = SqlStore({str(tmp_path / "headrace.db")!r})
control, opened = Path({str(control)!r}), []
connect = sqlite3.connect
def watched(*given, **named):
    opened.append(connect(*given, **named))
    return opened[-1]
sqlite3.connect = watched
asked = 0
for n in range(30):
    control.write_text("fsync {WAL} 5 1\\n" if n % 3 == 1 else "")
    before = len(opened)
    try:
        store.ask("x", {{}}, key=str(n), at_us=1)
        asked += 1
        failed = False
    except StoreError as error:
        assert error.code == "HR4080", error
        failed = True
    assert failed == (n % 3 == 1), n
    if n % 3 == 2:
        assert len(opened) > before, "a write after a failed fsync has a connection of its own"
assert [request.key for request in store.requests()] == [str(n) for n in range(30) if n % 3 != 1]
assert store.database.read("PRAGMA integrity_check") == [("ok",)]
store.close()
print("sound", asked)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env={"FAILING_DISK": str(control), "LD_PRELOAD": str(library), "PATH": ""},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("sound 20\n", 0), done.stderr
    assert len((tmp_path / "disk.log").read_text().splitlines()) == 10, "each was met once"


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(errno.ENOSPC, "HR4020", "the disk is full"), (errno.EIO, "HR4022", "the disk refuses the artifact")],
)
@pytest.mark.parametrize("calls", ["write", "fsync"])
def test_a_result_that_the_disk_refuses_fails_its_attempt_and_leaves_no_file(
    served: tuple[Living, Disk], calls: str, number: int, code: str, said: str
) -> None:
    project, disk = served
    disk.fails(calls, "/artifacts/", number)
    run = project.trigger("big")
    assert project.ended(run) == "failed"
    disk.heals()
    error, detail = project.error_of(run)
    assert f"{code}: {said}" in error
    assert "Traceback" not in error
    assert "free some space" in detail or "dmesg" in detail
    assert not [file for file in (project.home / "artifacts" / run).rglob("*") if file.is_file()]
    answer = project.answer(project.ask("retry", f"retry {run}", run=run))
    assert answer is not None
    assert project.ended(run) == "succeeded"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_task_goes_on_though_what_it_prints_cannot_be_kept_and_its_log_says_so(
    served: tuple[Living, Disk], number: int
) -> None:
    project, disk = served
    disk.fails("write", "/logs/w", number)
    assert project.ended(project.trigger("single", n=77)) == "succeeded"
    assert project.ended(project.trigger("single", n=77)) == "succeeded"
    disk.heals()

    def is_told() -> bool:
        run = project.trigger("single", n=88)
        assert project.ended(run) == "succeeded"
        shown = project.command("logs", run).stdout
        assert "line of 88" in shown
        return "(the disk refused " in shown

    project.until(is_told, "the worker that met it to say so; the other one may not have")


def test_a_run_in_process_that_meets_a_refusing_disk_ends_and_is_closed(served: tuple[Living, Disk]) -> None:
    project, _ = served
    (project.root / "runner").write_text(f"fsync {WAL} {errno.EIO} 3\n")
    done = project.command("run", "single", FAILING_DISK=str(project.root / "runner"))
    assert done.returncode == 6, done.stdout + done.stderr
    assert "HR4080" in done.stderr
    assert "Traceback" not in done.stderr
    left = "SELECT run FROM runs WHERE ended_us IS NULL AND log LIKE 'run:%'"
    project.until(lambda: not project.rows(left), "the engine to close what it left")


def test_the_store_is_sound_after_all_of_this(served: tuple[Living, Disk]) -> None:
    project, _ = served
    assert project.stop() == 0
    assert audit(Evidence(project.store.database, {}, has_ended=False)) == []
    doctor = project.command("doctor")
    assert "fail" not in doctor.stdout, doctor.stdout


# -- a disk that is read-only ------------------------------------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"read-only disk: needs the right to mount a small tmpfs ({done.stderr.strip()})")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def is_remounted(folder: Path, how: str) -> bool:
    return (
        subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.parametrize("ended", ["cleanly", "killed"])
def test_what_lies_on_a_read_only_disk_can_be_looked_at_and_backed_up(
    mounted: Path, tmp_path: Path, ended: str
) -> None:
    project = Living(mounted / "project", CODE)
    try:
        project.start()
        run = project.trigger("big")
        assert project.ended(run) == "succeeded"
        assert project.stop() == 0 if ended == "cleanly" else project.kill_engine() is None
        project.until(lambda: not project.processes(), "all to leave")
        project.store.close()
        project._store = None
        if ended == "killed":  # what the dead left beside the database
            subprocess.run(
                [sys.executable, "-c", LEAVES, str(project.database)], cwd=project.root, env=project.environment,
                check=False,
            )  # fmt: skip
            assert Path(f"{project.database}-wal").stat().st_size > 0
        project.until(lambda: is_remounted(mounted, "ro"), "the last of them to let go of its files")
        assert run in project.command("runs", "ls").stdout
        doctor = project.command("doctor")
        assert f"fail  disk       {project.home} is not writable" in doctor.stdout
        assert "ok    store" in doctor.stdout
        for words in (("trigger", "single"), ("run", "single"), ("dev", "--no-reload")) if ended == "cleanly" else ():
            refused = project.command(*words)
            assert refused.returncode == 6, refused.stdout + refused.stderr
            assert "HR4030" in refused.stderr
            assert "Traceback" not in refused.stderr
        kept = project.command("backup", str(tmp_path / "kept"))
        assert kept.returncode == 0, kept.stderr
        assert is_remounted(mounted, "rw")
        project.start()
        assert project.ended(project.trigger("single")) == "succeeded"
    finally:
        project.end()


LEAVES = """
import os, signal, sys
from headrace.store.sql.store import SqlStore
store = SqlStore(sys.argv[1])
store.ask("pause", {"pipeline": "single", "paused": False, "by": "me"}, key="left", at_us=1)
os.kill(os.getpid(), signal.SIGKILL)
"""


# -- bytes that change -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """A project with something of everything, whose log still holds what came last: all that used it were killed."""
    project = Living(tmp_path_factory.mktemp("pristine") / "project", CODE)
    for words in (
        ("run", "big"),
        ("run", "tabled"),
        ("topics", "append", "events", "--json-row", '{"id": "a", "x": 1}'),
    ):
        assert project.command(*words).returncode == 0
    script = LEAVES.replace("store.ask(", "for n in range(20): store.ask(").replace('"left"', 'f"left {n}"')
    subprocess.run([sys.executable, "-c", script, str(project.database)], check=False)
    yield project
    project.end()


@pytest.fixture
def copy(pristine: Living, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Living:
    """A copy that a test may damage."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    project = Living(tmp_path / "project", CODE)
    shutil.copytree(pristine.home, project.home, dirs_exist_ok=True)
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("LIVING", str(project.root))
    return project


def say(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    from headrace.cli.main import main

    capsys.readouterr()
    sys.modules.pop("flow", None)
    ended = main(words)
    told = capsys.readouterr()
    sys.modules.pop("flow", None)
    assert ended == code, told.out + told.err
    assert "Traceback" not in told.err
    return told.out + told.err


def flip(path: Path, at: int) -> None:
    body = bytearray(path.read_bytes())
    body[at] ^= 0x10
    path.write_bytes(body)


def cut(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:n_bytes])


def page_of(database: Path, table: str) -> int:
    """The place of the table's first page in the file, all of which is in the file afterwards."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
    connection.close()
    return (page - 1) * PAGE


def test_a_store_that_nothing_has_harmed_is_sound(copy: Living, capsys: pytest.CaptureFixture[str]) -> None:
    assert copy.database.with_name(WAL).stat().st_size > 20 * PAGE
    assert "fail" not in say(capsys, 0, "doctor")


@pytest.mark.parametrize("where", ["head", "middle", "salt", "page"])
def test_commits_that_a_damaged_log_hides_are_missed_by_all_who_would_go_on_without_them(
    copy: Living, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    wal = copy.database.with_name(WAL)
    frame = PAGE + 24
    flip(wal, {"head": 17, "middle": 32 + 9 * frame + 5000, "salt": 32 + 9 * frame + 8, "page": 32 + 9 * frame}[where])
    before = wal.read_bytes()
    commands = [("doctor",), ("trigger", "single"), ("run", "single"), ("dev", "--no-reload", "--moved")]
    for words in commands if where == "middle" else commands[:2]:
        told = say(capsys, 1 if words == ("doctor",) else 6, *words)
        assert "HR4043" in told
        assert "the write-ahead log is damaged at its frame" in told
        assert "commits are lost" in told
        assert "restore a backup" in told
    assert wal.read_bytes() == before, "what is left of it stays as it is"


def test_a_log_that_was_cut_keeps_what_is_before_the_cut(copy: Living, capsys: pytest.CaptureFixture[str]) -> None:
    cut(copy.database.with_name(WAL), 32 + 10 * (PAGE + 24) + 5000)
    assert "ok    store" in say(capsys, 0, "doctor")
    assert 0 < copy.rows("SELECT count(*) FROM inbox")[0][0] < 20


def test_a_cut_database_is_named(copy: Living, capsys: pytest.CaptureFixture[str]) -> None:
    page_of(copy.database, "logs")
    cut(copy.database, copy.database.stat().st_size // 2)
    told = say(capsys, 1, "doctor")
    assert "fail  store" in told
    assert "restore a copy" in told or "restore a backup" in told
    assert "HR4040" in say(capsys, 6, "backup", str(copy.root / "kept"))


@pytest.mark.parametrize("table", ["facts", "items", "topic_blobs", "inbox"])
def test_a_page_with_a_flipped_head_is_named(copy: Living, capsys: pytest.CaptureFixture[str], table: str) -> None:
    flip(copy.database, page_of(copy.database, table))
    told = say(capsys, 1, "doctor")
    assert "fail  store" in told
    assert "HR4040" in say(capsys, 6, "backup", str(copy.root / "kept"))
    assert not list((copy.root / "kept").iterdir())


def test_flipped_rows_of_a_topic_are_named(copy: Living, capsys: pytest.CaptureFixture[str]) -> None:
    page_of(copy.database, "logs")
    with sqlite3.connect(copy.database) as connection:
        ((body,),) = connection.execute("SELECT body FROM topic_bodies")
    connection.close()
    at = copy.database.read_bytes().index(body)
    flip(copy.database, at + len(body) // 2)
    assert "fail  store      topic events/0 at 0: the checksum of" in say(capsys, 1, "doctor")
    assert "HR4040" in say(capsys, 6, "topics", "tail", "events")


@pytest.mark.parametrize("harm", ["flipped", "cut", "gone"])
def test_a_harmed_artifact_and_a_harmed_part_of_a_table_are_named(
    copy: Living, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    for file in [file for file in (copy.home / "artifacts").rglob("*") if file.is_file()]:
        body = file.read_bytes()
        if harm == "flipped":
            flip(file, len(body) // 2)
        elif harm == "cut":
            cut(file, len(body) // 2)
        else:
            file.unlink()
        told = say(capsys, 1, "doctor")
        assert "fail  artifacts" in told
        assert file.name in told
        assert "of task large of run" in told or "of task table of run" in told or "of table daily" in told
        file.write_bytes(body)
    assert "fail" not in say(capsys, 0, "doctor")


def test_a_harmed_copy_of_code_is_named(copy: Living, capsys: pytest.CaptureFixture[str]) -> None:
    copy.start("--moved")
    assert copy.stop() == 0
    (version,) = (copy.home / "code").iterdir()
    assert "fail" not in say(capsys, 0, "doctor")
    flip(version / "flow.py", 5)
    assert f"the code version {version.name}: its copy is not what was deployed" in say(capsys, 1, "doctor")
    shutil.rmtree(version)
    assert f"the code version {version.name}: its copy is gone" in say(capsys, 1, "doctor")


# -- a log that stays bounded ------------------------------------------------------------------------------------------


def test_the_log_stays_bounded_beside_a_slow_reader_and_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headrace.errors import StoreError
    from headrace.store.sql import backup, connection
    from headrace.store.sql.connection import Database

    mb = 1 << 20
    monkeypatch.setattr(connection, "CHECKPOINT_BYTES", 4 * mb)
    monkeypatch.setattr(connection, "RESTART_BYTES", 8 * mb)
    monkeypatch.setattr(connection, "WAL_LIMIT_BYTES", 12 * mb)
    monkeypatch.setattr(backup, "GIVE_UP_BYTES", 30 * mb)
    database = Database(tmp_path / "headrace.db")

    def write(times: int) -> int:
        largest = 0
        for _ in range(times):
            with database.write() as writing:
                writing.executemany("INSERT INTO topic_bodies (body) VALUES (?)", [(bytes(20_000),)] * 50)
            largest = max(largest, database.wal_bytes())
        return largest

    assert write(80) < 12 * mb
    with database.reading(is_snapshot=True) as slow:
        slow.execute("SELECT count(*) FROM topic_bodies").fetchone()
        while not database.wal_is_over_limit():  # which makes streams wait
            write(1)
        assert database.wal_bytes() < 16 * mb
    assert write(10) < 20 * mb
    assert database.wal_bytes() < 12 * mb, "it has begun anew"

    rows = database.read("SELECT count(*) FROM topic_bodies")
    told: list[int] = []

    def beside(done: int, of: int) -> None:
        told.append(done)
        if not database.wal_is_over_limit():
            write(1)

    backup.copy_database(database, tmp_path / "copy.db", beside)
    assert told == sorted(told)
    assert len(told) > 5
    assert database.wal_bytes() < 16 * mb
    copied = backup.Copy(tmp_path / "copy.db")
    assert copied.read("SELECT count(*) FROM topic_bodies") == rows, "one moment, whatever is written meanwhile"
    copied.close()
    with pytest.raises(StoreError, match="the write-ahead log has grown") as caught:
        backup.copy_database(database, tmp_path / "late.db", lambda done, of: write(10) and None)
    assert caught.value.code == "HR4051"
    write(10)
    assert database.wal_bytes() < 12 * mb, "it begins anew once nobody holds it back"
    database.close()
