"""Details of old runs go while an engine serves, also where it is killed in the middle; what came of them stays."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from living import COMMAND, PATIENCE_S, Living

from headrace.host.rights import backing_up

pytestmark = [pytest.mark.process, pytest.mark.headrace_project]

Make = Callable[..., Living]
CODE = """
notes = hr.Topic("notes", schema={"id": str, "x": int}, key="id")
newest = hr.Table("newest", key="id")

@hr.task
def large(n: int) -> bytes:
    print("large", n)
    return bytes(20_000)

@hr.task
def note(n: int) -> int:
    notes.append([{"id": f"m{n}", "x": n}])
    return n

@hr.task(to=newest)
def row(n: int) -> pl.DataFrame:
    return pl.DataFrame({"id": ["a"], "x": [n]})

@hr.pipeline
def work(n: int) -> None:
    large(n)
    note(n)
    row(n)

@hr.task
def broken(n: int) -> int:
    raise ValueError(f"no {n}")

@hr.pipeline
def bad(n: int) -> None:
    broken(n)
"""
RUNS = 6
OLD = 'retention = "1s"\nworkers = 2'


def lived(living: Make) -> Living:
    """A project that has had some runs, and is not served any more."""
    project = living(CODE, 'retention = "forever"\nworkers = 2')
    project.start()
    for n in range(RUNS):
        project.trigger("work", n=n)
    project.trigger("bad", n=1)
    project.until(lambda: ended(project) == RUNS + 1, "all runs to end")
    project.stop()
    (project.root / "headrace.toml").write_text(f'{OLD}\n[project]\nname = "flow"\n')
    with project.store.database.write() as connection:  # as if an hour had passed since
        connection.execute("UPDATE runs SET ended_us = ended_us - 3600000000")
    return project


def ended(project: Living) -> int:
    return project.rows("SELECT count(*) FROM runs WHERE ended_us IS NOT NULL")[0][0]


def left(project: Living) -> tuple[int, int, int]:
    """Runs with details, runs that may have files, items."""
    return (
        *project.rows("SELECT sum(dropped_us IS NULL), sum(has_files) FROM runs")[0],
        project.rows("SELECT count(*) FROM items")[0][0],
    )


def artifacts(project: Living) -> list[Path]:
    return [path for path in (project.home / "artifacts").rglob("*") if path.is_file()]


def is_sound(project: Living) -> bool:
    doctor = project.command("doctor").stdout
    return "sound" in doctor and "all that is named is there" in doctor


def test_details_of_old_runs_go_and_everything_else_stays(living: Make) -> None:
    project = lived(living)
    before = [project.command("trace", name).stdout for name in ("m3", "notes/0/0")]
    assert "accepted" in before[0]
    project.start()
    project.until(lambda: left(project) == (0, 0, 0), "all details to go")
    assert [project.command("trace", name).stdout for name in ("m3", "notes/0/0")] == before
    assert len(artifacts(project)) == RUNS, "one part of the table for each of its versions"
    assert is_sound(project)
    shown = json.loads(project.command("runs", "show", "work", "--json").stdout)
    assert [(task["task"], task["succeeded"]) for task in shown["tasks"]] == [("large", 1), ("note", 1), ("row", 1)]
    refused = project.command("runs", "retry", "bad")
    assert (refused.returncode, refused.stderr[:6]) == (4, "HR3015")
    assert project.stop() == 0


@pytest.mark.parametrize(("commit", "is_left"), [(1, RUNS + 1), (2, 0)], ids=["rows", "files"])
def test_an_engine_that_is_killed_in_the_middle_goes_on_there(living: Make, commit: int, is_left: int) -> None:
    project = lived(living)
    point = {"HEADRACE_FAILPOINTS": f"engine.after_commit=kill@{commit}"}
    engine = subprocess.Popen([*COMMAND, "dev", "--no-reload"], cwd=project.root, env={**project.environment, **point})
    assert engine.wait(PATIENCE_S) == -signal.SIGKILL
    assert left(project) == (0, is_left, 0)
    project.start()
    project.until(lambda: left(project) == (0, 0, 0), "the rest to go")
    assert len(artifacts(project)) == RUNS
    assert is_sound(project)


def test_no_file_goes_while_a_backup_is_made(living: Make, tmp_path: Path) -> None:
    project = lived(living)
    before = len(artifacts(project))
    with backing_up(project.home / "locks", "test"):
        project.start()
        project.until(lambda: left(project) == (0, RUNS + 1, 0), "the rows to go")
        project.trigger("bad", n=2)  # files come before rows: who drops its rows has met the files of the others
        project.until(lambda: left(project) == (0, RUNS + 2, 0), "the rows of another run to go")
        assert len(artifacts(project)) == before
    project.until(lambda: left(project) == (0, 0, 0), "the files to go")
    done = project.command("backup", str(tmp_path / "kept"), "--json")
    assert json.loads(done.stdout)["damaged"] == []
    assert not list((project.home / "locks").glob("backup-*"))
