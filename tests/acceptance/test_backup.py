"""`headrace backup` beside a load, and `headrace restore` elsewhere: nothing acknowledged is missing, and work goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from living import COMMAND, Living

from headrace.definitions.project import TopicDef
from headrace.host.whereabouts import remembered
from headrace.store.sql.reads import streams as stream_rows
from headrace.store.sql.reads import topics as topic_rows
from headrace.testing.auditor.audit import audit
from headrace.testing.auditor.evidence import Evidence

pytestmark = [pytest.mark.process, pytest.mark.headrace_project]

Make = Callable[..., Living]
CODE = """
events = hr.Topic("events", schema={"id": str, "x": int}, key="id", partitions=2)
out = hr.Topic("out", key="id", partitions=2)
daily = hr.Table("daily")

@hr.stream(events, to=out, start="earliest")
def doubled(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.select("id", y=pl.col("x") * 2)

@hr.task
def hold(item: int) -> int:
    sign(item)
    if item == 0:
        wait_for("gate")
    return item

@hr.task
def count(items: list[int]) -> int:
    return len(items)

@hr.pipeline
def held() -> int:
    return count(hold.map([0, 1, 2]))

@hr.task(to=daily)
def wide(n: int) -> pl.DataFrame:
    print("wide", n)
    return pl.DataFrame({"n": range(n)})

@hr.task
def large(rows: pl.DataFrame) -> tuple[list, bytes]:
    return ["x" * 100] * 1000, bytes(100_000)

@hr.pipeline
def small(n: int = 5000) -> None:
    large(wide(n))
"""
EVENTS = TopicDef(name="events", schema={"id": "str", "x": "int"}, required=("id", "x"), key="id", partitions=2)
OUT = TopicDef(name="out", key="id", partitions=2)


class Load:
    """Clients that append and trigger until they are told to stop; what was acknowledged, and when."""

    def __init__(self, project: Living) -> None:
        self.acknowledged: list[tuple[float, int]] = []
        self.runs: list[tuple[float, str]] = []
        self._project, self._is_over = project, threading.Event()
        self._threads = [threading.Thread(target=self._append), threading.Thread(target=self._trigger)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _append(self) -> None:
        first = 0
        while not self._is_over.is_set():
            file = self._project.root / "rows.jsonl"
            file.write_text("".join(f'{{"id": "e{x}", "x": {x}}}\n' for x in range(first, first + 100)))
            done = self._project.command("topics", "append", "events", "--file", str(file))
            assert done.returncode == 0, done.stderr
            self.acknowledged += [(time.monotonic(), x) for x in range(first, first + 100)]
            first += 100

    def _trigger(self) -> None:
        while not self._is_over.is_set():
            done = self._project.command("trigger", "small", "--json", "--timeout", "120")
            assert done.returncode == 0, done.stderr
            self.runs.append((time.monotonic(), json.loads(done.stdout)["run"]))


def laid_out_like(project: Living, root: Path) -> Living:
    """Another folder with the same code and no store."""
    other = Living(root, CODE)
    other.home.rmdir()
    return other


def test_a_backup_beside_a_load_holds_all_that_was_acknowledged_and_goes_on_elsewhere(
    living: Make, tmp_path: Path
) -> None:
    project = living(CODE)
    project.start()
    held = project.trigger("held")
    project.until(lambda: len(project.ledger("hold")) == 3, "all items to begin")
    load = Load(project)
    try:
        project.until(lambda: len(load.runs) >= 2 and len(load.acknowledged) >= 200, "the load")
        began = time.monotonic()
        done = project.command("backup", str(tmp_path / "kept"), "--json")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["damaged"] == []
        project.until(lambda: load.acknowledged[-1][0] > began, "more rows")
    finally:
        load.stop()
    project.kill_engine()

    other = laid_out_like(project, tmp_path / "other")
    try:
        restored = other.command("restore", str(tmp_path / "kept"))
        assert restored.returncode == 0, restored.stderr
        assert "headrace dev --moved where the old one is gone" in restored.stderr
        doctor = other.command("doctor")
        assert "fail" not in doctor.stdout, doctor.stdout
        assert dict(other.rows("SELECT name, head FROM logs")) == said["heads"]
        there = set(other.read(EVENTS)["x"].to_list())
        assert {x for at, x in load.acknowledged if at < began} <= there
        runs = {run for (run,) in other.rows("SELECT run FROM runs")}
        assert {run for at, run in load.runs if at < began} | {held} <= runs

        assert other.command("dev", "--no-reload").returncode == 4, "nobody said what became of the other one"
        other.start("--moved")
        other.open("gate")
        for run in sorted(runs):
            assert other.ended(run) == "succeeded"
        other.audit(held)
        heads = topic_rows.heads(other.store.database, "events")
        at = lambda: {row.shard: row.next_offset for row in stream_rows.shards(other.store.database, "doubled")}  # noqa: E731
        other.until(lambda: at() == heads, "the stream to read all rows")
        assert Counter(other.read(OUT)["y"].to_list()) == Counter(2 * x for x in there)
        assert other.ended(other.trigger("small")) == "succeeded"
        assert other.stop() == 0
        assert audit(Evidence(other.store.database, {}, has_ended=False)) == []
        assert "wide 5000" in other.command("logs", min(runs - {held})).stdout
    finally:
        other.end()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Living, Path]]:
    """A project that nobody serves, and a backup of it."""
    root = tmp_path_factory.mktemp("kept")
    project = Living(root / "project", CODE)
    assert project.command("run", "small").returncode == 0
    assert project.command("topics", "append", "events", "--json-row", '{"id": "a", "x": 1}').returncode == 0
    assert project.command("backup", str(root / "backup")).returncode == 0
    yield project, root / "backup"
    project.end()


def copied(folder: Path, to: Path) -> Path:
    subprocess.run(["cp", "-a", str(folder), str(to)], check=True)
    return to


def refused(project: Living, backup: Path, code: int, *said: str) -> None:
    done = project.command("restore", str(backup))
    assert done.returncode == code, done.stdout + done.stderr
    for words in said:
        assert words in done.stderr
    assert not project.database.exists()


def test_a_backup_is_refused_where_something_lies_and_a_restore_where_a_store_is(kept: tuple[Living, Path]) -> None:
    project, backup = kept
    again = project.command("backup", str(backup))
    assert again.returncode == 4
    assert "HR3052 a backup goes into an empty folder" in again.stderr
    before = project.database.read_bytes()
    over = project.command("restore", str(backup))
    assert over.returncode == 4
    assert "HR3053 the project has a store already" in over.stderr
    assert f"mv {project.home} {project.home}.old" in over.stderr
    assert project.database.read_bytes() == before


def test_a_backup_of_nothing_and_a_restore_from_nothing_say_so(kept: tuple[Living, Path], tmp_path: Path) -> None:
    other = laid_out_like(kept[0], tmp_path / "other")
    none = other.command("backup", str(tmp_path / "backup"))
    assert none.returncode == 3
    assert "HR2070 there is no store to back up" in none.stderr
    assert not (tmp_path / "backup").exists()
    refused(other, tmp_path / "nowhere", 6, "HR4042 this is not a whole backup", "it has no manifest.json")


def test_a_backup_of_another_project_is_refused(kept: tuple[Living, Path], tmp_path: Path) -> None:
    other = laid_out_like(kept[0], tmp_path / "other")
    (other.root / "headrace.toml").write_text('[project]\nname = "weather"\n')
    refused(other, kept[1], 4, "HR3054 this is a backup of the project 'flow'")


@pytest.mark.parametrize("what", ["headrace.db", "artifacts", "manifest.json", "place.json", "logs"])
@pytest.mark.parametrize("harm", ["flipped", "cut", "gone"])
def test_a_backup_that_is_not_what_was_written_is_refused_before_anything_is_made(
    kept: tuple[Living, Path], tmp_path: Path, what: str, harm: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from headrace.cli.main import main

    backup = copied(kept[1], tmp_path / "copy")
    file = backup / what if (backup / what).is_file() else next(f for f in (backup / what).rglob("*") if f.is_file())
    body = bytearray(file.read_bytes())
    if harm == "gone":
        file.unlink()
    else:
        body[len(body) // 2] ^= 1
        file.write_bytes(body if harm == "flipped" else body[: len(body) // 2])
    other = laid_out_like(kept[0], tmp_path / "other")
    monkeypatch.chdir(other.root)
    assert main(["restore", str(backup)]) == 6
    said = capsys.readouterr().err
    assert "HR4042 this is not a whole backup" in said
    assert "Traceback" not in said
    assert not other.home.exists()


def test_a_damaged_store_is_not_backed_up_and_a_damaged_artifact_is_named(
    kept: tuple[Living, Path], tmp_path: Path
) -> None:
    other = laid_out_like(kept[0], tmp_path / "other")
    assert other.command("restore", str(kept[1])).returncode == 0
    artifact = next(file for file in (other.home / "artifacts").rglob("*") if file.is_file())
    artifact.write_bytes(b"something else")
    named = other.command("backup", str(tmp_path / "with damage"), "--json")
    assert named.returncode == 1
    assert artifact.name in named.stderr
    assert len(json.loads(named.stdout)["damaged"]) == 1
    body = bytearray(other.database.read_bytes())
    middle = len(body) // 2 // 16384 * 16384
    body[middle : middle + 16384] = bytes(range(256)) * 64
    other.database.write_bytes(body)
    none = other.command("backup", str(tmp_path / "of ruins"))
    assert none.returncode == 6
    assert "HR4040 the database is damaged" in none.stderr
    assert "keep the backups that you have" in none.stderr
    assert not list((tmp_path / "of ruins").iterdir())


def test_a_killed_backup_is_none_and_a_killed_restore_leaves_no_store(
    kept: tuple[Living, Path], tmp_path: Path
) -> None:
    project, backup = kept
    slow = "import os, signal; import headrace.keeping.backup as b; kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL);"
    call = f"{slow} b.%s = kill; from headrace.cli.main import main; main(['%s', %r])"
    other = laid_out_like(project, tmp_path / "other")
    for command, at, where in (("backup", "write_manifest", project), ("restore", "_write_lock", other)):
        folder = tmp_path / "half" if command == "backup" else backup
        died = subprocess.run(
            [*COMMAND[:1], "-c", call % (at, command, str(folder))], cwd=where.root, env=where.environment, check=False
        )
        assert died.returncode == -signal.SIGKILL
    assert (tmp_path / "half" / "headrace.db").exists()
    refused(other, tmp_path / "half", 6, "HR4042", "it was not finished")
    assert (other.home / "artifacts").exists()
    assert other.command("restore", str(backup)).returncode == 0, "another try is not hindered by the first"
    assert "fail" not in other.command("doctor").stdout
    first, second = remembered(project.home), remembered(other.home)
    assert first == second, "whose identity it has is asked by the engine"
