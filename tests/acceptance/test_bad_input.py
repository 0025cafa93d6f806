"""What should not be there: code, values, rows, files and machines that are wrong. Each ends in a message that helps."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from living import PATIENCE_S, Living

from headrace.cli.main import main
from headrace.engine import loader
from headrace.engine.loader import load_code
from headrace.errors import EngineUnavailableError
from headrace.host.doorbell import Doorbell
from headrace.host.rights import take_right
from headrace.store.sql.store import SqlStore

pytestmark = pytest.mark.headrace_project

Say = Callable[..., str]
FINE = """
import headrace as hr

@hr.task
def one() -> int:
    return 1

@hr.pipeline
def fine() -> int:
    return one()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project `odd` that is in order as yet."""
    (tmp_path / "headrace.toml").write_text('[project]\nname = "odd"\n')
    (tmp_path / "odd.py").write_text(FINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("odd", None)


@pytest.fixture
def say(folder: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """What a command says, on both of its outputs, once it ended with that code."""

    def call(*words: str, code: int) -> str:
        capsys.readouterr()
        sys.modules.pop("odd", None)  # each command is a process of its own
        ended = main(words)
        printed = capsys.readouterr()
        assert ended == code, printed.out + printed.err
        assert "Traceback" not in printed.err
        return printed.out + printed.err

    return call


# -- code --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
        ("x = (", "'(' was never closed"),
        ("raise RuntimeError('at import')", "at import"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_module_that_does_not_import_is_named_with_its_line(folder: Path, say: Say, text: str, named: str) -> None:
    (folder / "odd.py").write_text(f"{FINE}\n{text}\n")
    said = say("check", code=2)
    assert "odd does not import" in said
    assert named in said
    assert f"{folder / 'odd.py'}:{len(FINE.splitlines()) + 2}" in said
    assert named in say("run", "fine", code=2)


def loaded_problem(folder: Path) -> tuple[str, str]:
    code = load_code(folder, "odd", (), folder / "code")
    (problem,) = code.problems
    assert not (folder / "code").exists(), "what does not load is not kept"
    return problem.message, problem.cure


@pytest.mark.process
@pytest.mark.parametrize("child", ["", "import subprocess; subprocess.Popen(['sleep', '600'])\n"])
def test_a_module_that_hangs_on_import_costs_its_loader_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, child: str
) -> None:
    (folder / "odd.py").write_text(f"{child}open('/dev/ptmx').close()\nimport threading; threading.Event().wait()\n")
    monkeypatch.setattr(loader, "TIMEOUT_S", 1.0)
    began = time.monotonic()
    message, cure = loaded_problem(folder)
    assert time.monotonic() - began < 60
    assert message == "the import took longer than 1 s"
    assert cure == "move slow work into a task"
    while at_work_in(folder):
        assert time.monotonic() - began < 60, "the loader, or a child of it, lives on"


def at_work_in(folder: Path) -> list[Path]:
    """The other processes whose working directory it is."""
    places = [Path("/proc", name, "cwd") for name in os.listdir("/proc") if name.isdigit() and name != str(os.getpid())]
    return [place for place in places if working_directory(place) == str(folder)]


def working_directory(place: Path) -> str | None:
    """Where the process of `place` works; None once it has ended, which it may do while it is looked at."""
    try:
        return os.readlink(place)
    except OSError:
        return None


@pytest.mark.process
def test_a_module_that_kills_its_loader_is_said_to(folder: Path) -> None:
    (folder / "odd.py").write_text("import os, sys\nsys.stderr.write('so long\\n')\nos._exit(7)\n")
    message, cure = loaded_problem(folder)
    assert message == "the loader died while it imported odd: so long"
    assert "does importing it crash Python?" in cure


@pytest.mark.process
def test_what_a_module_prints_does_not_disturb_its_loading(folder: Path) -> None:
    noise = "import sys\nprint('x' * 100_000)\nsys.stdout.buffer.write(b'\\n\\x1e{}\\xff\\n')\n"
    (folder / "odd.py").write_text(noise + FINE)
    code = load_code(folder, "odd", (), folder / "code")
    assert list(code.project.pipelines) == ["fine"]
    assert not code.problems


# -- settings ----------------------------------------------------------------------------------------------------------


def test_a_key_that_does_not_exist_is_named_with_its_line_and_what_was_meant(folder: Path, say: Say) -> None:
    toml = folder / "headrace.toml"
    toml.write_text('wrokers = 3\n[project]\nname = "odd"\n')
    for command in ("check", "dev", "doctor"):
        said = say(command, code=1 if command == "doctor" else 2)
        assert "the top of the file has no key 'wrokers' (did you mean 'workers'?)" in said
        assert f"{toml}:1" in said
        assert "the keys are workers, " in said


# -- rows --------------------------------------------------------------------------------------------------------------


def test_a_row_that_does_not_fit_its_topic_is_named_and_nothing_of_its_batch_is_appended(
    folder: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "odd.py").write_text(
        "import headrace as hr\nevents = hr.Topic('events', schema={'id': str, 'x': int}, key='id')\n"
    )
    for row, named in (
        ({"id": "b", "x": "many"}, "'x'"),
        ({"id": "b"}, "'x'"),
        ({"id": None, "x": 1}, "'id'"),
        ({"id": "b", "x": 1, "colour": "red"}, "'colour'"),
    ):
        (folder / "rows.jsonl").write_text("\n".join(json.dumps(r) for r in ({"id": "a", "x": 1}, row)))
        said = say("topics", "append", "events", "--file", "rows.jsonl", code=2)
        assert named in said
        assert "rows.jsonl:2" in said
        assert "try" in said
    assert "nothing" in say("topics", "ls", code=0) or " 0" in say("topics", "ls", code=0)
    (folder / "rows.jsonl").write_text('{"id": "a", "x": 1}\n{"id": "b", "x"')
    assert "rows.jsonl:2" in say("topics", "append", "events", "--file", "rows.jsonl", code=2)


# -- the database ------------------------------------------------------------------------------------------------------


@pytest.fixture
def database(folder: Path, say: Say) -> Path:
    say("run", "fine", code=0)
    return folder / ".headrace" / "headrace.db"


def test_a_database_of_a_newer_version_is_left_alone(database: Path, say: Say) -> None:
    connection = sqlite3.connect(database)
    connection.execute("UPDATE alembic_version SET version_num = '0999'")
    connection.commit()
    connection.close()
    before = database.read_bytes()
    for words in (("runs", "ls"), ("dev",), ("run", "fine")):
        said = say(*words, code=6)
        assert "HR4010 this store has schema 0999" in said
        assert str(database) in said
        assert "pip install --upgrade headrace" in said
    assert database.read_bytes() == before


def test_a_damaged_database_is_said_to_be_one(database: Path, say: Say) -> None:
    body = bytearray(database.read_bytes())
    for beside in ("-wal", "-shm"):
        database.with_name(database.name + beside).unlink(missing_ok=True)
    database.write_bytes(bytes(100) + body[100:])
    for words in (("runs", "ls"), ("dev",), ("run", "fine")):
        said = say(*words, code=6)
        assert "HR4040 the database is damaged or not a Headrace store" in said
        assert str(database) in said
        assert "restore a copy" in said
    database.write_bytes(body[:16384] + bytes(len(body) - 16384))
    assert "HR4040" in say("runs", "ls", code=6)
    assert "fail  store" in say("doctor", code=1)
    database.write_bytes(b"hello, I am a text")
    assert "HR4040" in say("runs", "ls", code=6)


def test_an_empty_database_is_not_taken_for_a_new_one(database: Path, say: Say) -> None:
    for beside in ("-wal", "-shm"):
        database.with_name(database.name + beside).unlink(missing_ok=True)
    database.write_bytes(b"")
    for words in (("runs", "ls"), ("dev",), ("run", "fine"), ("trigger", "fine")):
        said = say(*words, code=6)
        assert "HR4040 the database is empty (0 bytes): what was in it is lost" in said
        assert str(database) in said
        assert f"restore a copy; or remove {database.parent} on purpose" in said
    assert "HR4040" in say("doctor", code=1)
    assert database.read_bytes() == b""


EVENTS = (
    FINE
    + """
events = hr.Topic("events", schema={"id": str}, key="id", partitions=1)

@hr.task
def many() -> tuple[dict, list]:
    return {"\\udcff": 1}, ["x" * 100] * 1000

@hr.pipeline
def heavy() -> None:
    many()
"""
)


def damage(database: Path, change: str, *given: object) -> list[tuple[bytes]]:
    connection = sqlite3.connect(database)
    found = connection.execute(change, given).fetchall()
    connection.commit()
    connection.close()
    return found


def test_doctor_finds_and_names_what_was_changed_in_a_page_that_sqlite_takes_for_sound(folder: Path, say: Say) -> None:
    (folder / "odd.py").write_text(EVENTS)
    say("topics", "append", "events", "--json-row", '{"id": "a"}', code=0)
    say("run", "fine", code=0)
    database = folder / ".headrace" / "headrace.db"
    assert "fail" not in say("doctor", code=0)
    ((body,),) = damage(database, "SELECT body FROM topic_bodies")
    damage(database, "UPDATE topic_bodies SET body = ?", body[:99] + bytes([body[99] ^ 1]) + body[100:])
    said = say("doctor", code=1)
    assert "fail  store      topic events/0 at 0: the checksum of" in said
    assert "restore a copy" in said
    assert "HR4040" in say("topics", "tail", "events", code=6)
    damage(database, "DELETE FROM topic_bodies")
    assert "topic events/0 at 0: the bytes of its rows are gone" in say("doctor", code=1)
    said = say("topics", "tail", "events", code=6)
    assert "HR4040 the bytes of the rows of events/0 from offset 0 on are gone" in said
    damage(database, "UPDATE facts SET body = x'5b' WHERE kind = 'RunCreated'")
    assert "cannot be read: Input data was truncated" in say("doctor", code=1)
    damage(database, "DELETE FROM facts WHERE kind = 'RunCreated'")
    assert "facts, and should have" in say("doctor", code=1)


def test_a_page_of_noise_is_said_to_be_damage_wherever_it_is_read(folder: Path, say: Say) -> None:
    (folder / "odd.py").write_text(EVENTS)
    say("topics", "append", "events", "--json-row", '{"id": "a"}', code=0)
    database = folder / ".headrace" / "headrace.db"
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ((root,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'topic_blobs'")
    connection.close()
    body = bytearray(database.read_bytes())
    body[(root - 1) * 16384 : root * 16384] = random.Random(1).randbytes(16384)
    database.write_bytes(body)
    said = say("topics", "tail", "events", code=6)
    assert "HR4040 the database is damaged" in said
    assert "headrace doctor shows what is broken" in said
    assert "fail  store" in say("doctor", code=1)


def test_doctor_finds_an_artifact_that_is_not_what_was_written(folder: Path, say: Say) -> None:
    (folder / "odd.py").write_text(EVENTS)
    say("run", "heavy", code=0)
    (artifact,) = (path for path in (folder / ".headrace" / "artifacts").rglob("*") if path.is_file())
    body = bytearray(artifact.read_bytes())
    body[5000] ^= 1
    artifact.write_bytes(body)
    said = say("doctor", code=1)
    assert "fail  artifacts" in said
    assert f"{artifact.name}, of task many of run " in said
    assert "restore them from a copy, or run again what made them" in said
    artifact.unlink()
    assert "the file is gone" in say("doctor", code=1)


# -- words and folders that are no text --------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("trigger", "fine", "x=\udcff"), ("run", "\udcff"), ("runs", "show", "a\udcffb")])
def test_an_argument_that_is_no_utf8_is_a_usage_error(database: Path, say: Say, words: tuple[str, ...]) -> None:
    said = say(*words, code=2)
    assert "HR1350 an argument is not UTF-8: b'" in said
    assert "\\xff" in said
    assert '"exit_code":2' in say(*words, "--json", code=2)


def test_a_folder_whose_name_is_no_utf8_is_refused_before_anything_is_made(
    folder: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9"))
    odd.mkdir()
    (odd / "headrace.toml").write_text('[project]\nname = "odd"\n')
    (odd / "odd.py").write_text(FINE)
    monkeypatch.chdir(odd)
    for words in (("check",), ("run", "fine"), ("dev",), ("runs", "ls")):
        said = say(*words, code=2)
        assert "HR1300 the name of the project's folder is not UTF-8" in said
        assert "rename the folder" in said
    assert not (odd / ".headrace").exists()


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 16 MB where the project keeps its state."""
    disk = folder / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"disk full: needs the right to mount a small tmpfs ({done.stderr.strip()})")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(path: Path) -> None:
    """As large as the disk lets it be."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    size = 1 << 20
    while size:
        try:
            os.write(fd, bytes(size))
        except OSError:
            size //= 2
    os.close(fd)


def test_a_full_disk_fails_the_task_that_met_it_and_the_next_run_succeeds(
    folder: Path, small_disk: Path, say: Say
) -> None:
    (folder / "headrace.toml").write_text('home = "disk/state"\n[project]\nname = "odd"\n')
    (folder / "odd.py").write_text(
        "import headrace as hr\n"
        "@hr.task\ndef big(mb: int) -> bytes:\n    return bytes(mb << 20)\n"
        "@hr.pipeline\ndef fine(mb: int = 1) -> None:\n    big(mb)\n"
    )
    said = say("run", "fine", "mb=40", code=1)
    assert "HR4020: the disk is full" in said
    assert "free some space, then retry the run" in say("logs", "last", code=0)
    left = [file for file in small_disk.rglob("*") if file.is_file() and file.stat().st_size > 4 << 20]
    assert not left, "what was half written is gone"
    assert "succeeded" in say("run", "fine", "mb=1", code=0)

    ballast = small_disk / "ballast"
    fill(ballast)
    assert "HR4020 the disk is full" in say("run", "fine", "mb=1", code=6)
    ballast.unlink()
    assert "succeeded" in say("run", "fine", "mb=1", code=0)


# -- what is in use ----------------------------------------------------------------------------------------------------


def test_a_second_engine_names_the_first(folder: Path, say: Say) -> None:
    right = take_right(folder / ".headrace" / "locks" / "engine.lock")
    assert right is not None
    with right:
        said = say("dev", code=5)
    assert f"HR5010 an engine serves this project already (process {os.getpid()})" in said
    assert "use that one, or end it first" in said


@pytest.mark.parametrize("base", ["long" * 40, "odd.py/in/the/way"])
def test_a_doorbell_that_cannot_be_hung_up_says_where(
    folder: Path, say: Say, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / base))
    said = say("dev", code=5)
    assert "HR5012 the engine cannot listen" in said
    assert str(folder / base) in said
    assert "let XDG_RUNTIME_DIR name a folder of yours with a short path" in said


def test_a_doorbell_left_by_a_dead_engine_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "bell.sock"
    dead = Doorbell(path)
    Doorbell(path).close()
    dead.close()
    path.mkdir()
    with pytest.raises(EngineUnavailableError, match="cannot listen"):
        Doorbell(path)


# -- tasks -------------------------------------------------------------------------------------------------------------

ODD = """
class Thing:
    def __init__(self): self.x = 1

@hr.task
def thing() -> object: return Thing()
@hr.task
def items() -> object: return (n for n in range(3))
@hr.task(max_lost=1)
def leaves() -> None:
    print("before the end", flush=True)
    os._exit(3)
@hr.task
def exits() -> None: raise SystemExit("enough")
@hr.task
def forks() -> int:
    pid = os.fork()
    if pid: os.waitpid(pid, 0)
    return 0 if pid == 0 else 1
@hr.task
def chatters() -> int:
    for n in range(100_000): print("line", n)
    os.write(1, bytes(range(256)) * 10)
    return 1
@hr.task
def wide() -> pl.DataFrame: return pl.DataFrame({"n": range(100_000)})
@hr.task
def waits() -> int:
    wait_for("gate")
    return 1
@hr.task
def reads(rows: pl.DataFrame, after: int) -> int: return rows.height

@hr.pipeline
def a_thing() -> None: thing()
@hr.pipeline
def a_generator() -> None: items()
@hr.pipeline
def an_exit() -> None: exits()
@hr.pipeline
def a_leaver() -> None: leaves()
@hr.pipeline
def a_fork() -> None: forks()
@hr.pipeline
def a_chatter() -> None: chatters()
@hr.pipeline
def a_flip() -> None:
    rows = wide()
    reads(rows, waits())
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    project = Living(tmp_path_factory.mktemp("served") / "project", ODD, "allow_pickle = false")
    try:
        project.start()
        yield project
    finally:
        project.end()


@pytest.mark.process
def test_a_result_that_nothing_can_store_names_its_type_and_what_can(served: Living) -> None:
    run = served.trigger("a_thing")
    assert served.ended(run) == "failed"
    error, detail = served.error_of(run)
    assert "the result of task 'thing' is a flow.Thing, which cannot be stored" in error
    assert "pickle is switched off (allow_pickle = false)" in error
    assert "return plain values" in detail
    run = served.trigger("a_generator")
    assert served.ended(run) == "failed"
    assert "is a generator" in served.error_of(run)[0]
    assert "return a list of its items" in served.error_of(run)[1]


@pytest.mark.process
def test_a_task_that_ends_its_process_fails_by_itself_and_says_how(served: Living) -> None:
    run = served.trigger("a_leaver")
    assert served.ended(run) == "failed"
    assert "the worker exited with code 3" in served.error_of(run)[0]
    lost = [fact for fact in served.kinds("AttemptLost") if fact.run == run]
    assert [(fact.attempt, fact.ends) for fact in lost] == [(1, True)] or [fact.ends for fact in lost] == [False, True]
    run = served.trigger("an_exit")
    assert served.ended(run) == "failed"
    error, detail = served.error_of(run)
    assert "SystemExit: the task called sys.exit('enough')" in error
    assert "A task ends by returning, or fails by raising an exception." in detail


@pytest.mark.process
def test_a_task_that_forks_is_accepted_once(served: Living) -> None:
    run = served.trigger("a_fork")
    assert served.ended(run) == "succeeded"
    served.audit(run)


@pytest.mark.process
def test_many_lines_and_bytes_that_are_no_text_are_kept_and_shown(served: Living) -> None:
    run = served.trigger("a_chatter")
    assert served.ended(run) == "succeeded"
    shown = subprocess.run(
        [sys.executable, "-m", "headrace.cli.main", "logs", run], cwd=served.root, env=served.environment,
        capture_output=True, check=True, timeout=PATIENCE_S,
    ).stdout  # fmt: skip
    text = shown.decode()
    assert "line 99999" in text
    assert len(shown) < 3_000_000


@pytest.mark.process
def test_a_flipped_bit_in_an_artifact_is_found_by_its_reader(served: Living) -> None:
    run = served.trigger("a_flip")
    artifacts = served.home / "artifacts" / run
    made = "SELECT 1 FROM items WHERE run = ? AND node = 'wide' AND state = 'succeeded'"
    served.until(lambda: served.rows(made, run), "the artifact")
    (file,) = artifacts.rglob("*.arrow")
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(body)
    served.open("gate")
    assert served.ended(run) == "failed"
    error, detail = served.error_of(run)
    assert "this artifact cannot be read: expected" in error
    assert "start a new run: a retry reads this file again" in detail
    again = served.trigger("a_flip")
    assert served.ended(again) == "succeeded"


def test_the_store_is_sound_after_all_of_this(served: Living) -> None:
    store = SqlStore(served.database)
    assert store.database.read("PRAGMA integrity_check") == [("ok",)]
    store.close()
