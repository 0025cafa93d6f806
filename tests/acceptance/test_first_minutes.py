"""The seven stumbles of the first half hour: each ends in a message that says what to do, or does no harm."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from living import Living

from headrace.cli.main import main

pytestmark = pytest.mark.headrace_project

TASKS = """
import headrace as hr
import polars as pl

@hr.task
def ingest() -> pl.DataFrame:
    return pl.DataFrame({"delay": [5, 40]})

@hr.task
def clean() -> None: ...

@hr.task
def train(rows: pl.DataFrame, rounds: int) -> int:
    return rows.height * rounds
"""

MODULES = ("shop", "etl")
Say = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project `shop`; what it puts on `sys.path` goes with it."""
    (tmp_path / "headrace.toml").write_text('[project]\nname = "shop"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def say(folder: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """What a command says, on both of its outputs, once it ended with that code."""

    def call(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        for module in MODULES:
            sys.modules.pop(module, None)  # each command is a process of its own
        ended = main(words)
        printed = capsys.readouterr()
        assert ended == code, printed.out + printed.err
        return printed.out + printed.err

    return call


def line_of(file: Path, text: str) -> str:
    return f"{file}:{1 + next(n for n, line in enumerate(file.read_text().splitlines()) if text in line)}"


# -- 1. an arrow between calls -----------------------------------------------------------------------------------------


def test_an_arrow_between_calls_is_answered_with_both_right_ways(folder: Path, say: Say) -> None:
    shop = folder / "shop.py"
    shop.write_text(TASKS + "\n@hr.pipeline\ndef daily() -> None:\n    ingest() >> clean()\n")
    said = say("check", code=2)
    assert line_of(shop, ">>") in said
    assert "the result of ingest" in said
    assert "`>>` orders uncalled tasks; calls are ordered by hr.chain(a(x), b(y))" in said
    shop.write_text(TASKS + "\n@hr.pipeline\ndef daily() -> None:\n    hr.chain(ingest(), clean())\n")
    assert "0 errors" in say("check")


# -- 2. an argument that is missing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "named", "cure"),
    [
        ("train(ingest())", "missing a required argument: 'rounds'", "call it with rows, rounds"),
        ("ingest >> train", "train stands uncalled in an order and needs rows, rounds", "hr.chain(…, train(…))"),
        ("train(ingest(), 2, runds=3)", "unexpected keyword argument 'runds'", "call it with rows, rounds"),
    ],
)
def test_an_argument_that_is_missing_is_named(folder: Path, say: Say, body: str, named: str, cure: str) -> None:
    shop = folder / "shop.py"
    shop.write_text(f"{TASKS}\n@hr.pipeline\ndef daily() -> None:\n    {body}\n")
    said = say("check", code=2)
    assert line_of(shop, body) in said
    assert named in said
    assert cure in said


# -- 3. a result used as if it were there ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        'raw.filter(pl.col("delay") > 30)',
        'raw["delay"]',
        "print(raw)",
        "len(raw)",
        "[row for row in raw]",
        "clean() if raw else None",
        "raw == 1",
        'f"{raw}"',
    ],
)
def test_a_result_used_in_the_body_is_named_with_the_cure(folder: Path, say: Say, use: str) -> None:
    shop = folder / "shop.py"
    shop.write_text(f"{TASKS}\n@hr.pipeline\ndef daily() -> None:\n    raw = ingest()\n    {use}\n")
    said = say("check", code=2)
    assert line_of(shop, f"    {use}") in said
    assert "raw is the result of ingest and is not known while the pipeline is built" in said
    assert "put this into a task" in said or "use hr.map" in said


# -- 4. a file that nobody finds ---------------------------------------------------------------------------------------

ETL = TASKS + "\n@hr.pipeline\ndef etl() -> None:\n    ingest()\n"


def test_a_file_beside_the_package_is_not_found_and_the_message_says_where_was_looked(folder: Path, say: Say) -> None:
    (folder / "shop.py").write_text(TASKS)
    (folder / "etl.py").write_text(ETL)
    for words in (("run", "etl"), ("trigger", "etl", "--no-wait")):
        said = say(*words, code=3)
        assert "there is no pipeline 'etl'" in said
        assert "they are those of shop" in said
        assert "headrace run FILE.py:etl" in said
    assert "of etl succeeded" in say("run", "etl.py:etl")


def test_without_a_project_the_file_that_was_meant_is_named(folder: Path, say: Say) -> None:
    (folder / "headrace.toml").unlink()
    (folder / "etl.py").write_text(ETL)
    for words in (("dev",), ("run", "etl"), ("check",)):
        said = say(*words, code=2)
        assert "HR1303 there is no headrace.toml here or above" in said
        assert str(folder) in said
        assert "headrace run etl.py runs that file by itself; for a project headrace new my-project" in said
    assert "of etl succeeded" in say("run", "etl.py")


def test_a_package_that_is_not_there_is_named(folder: Path, say: Say) -> None:
    (folder / "shpo").mkdir()
    for command in ("dev", "check"):
        said = say(command, code=2)
        assert f"HR1001 there is no package or module 'shop' in {folder}" in said
        assert "make shop/__init__.py, or change" in said


# -- 5. a password -----------------------------------------------------------------------------------------------------

SECRET = """
import headrace as hr

warehouse = hr.Secret("warehouse")

@hr.task
def load() -> int:
    return len(warehouse.value())

@hr.pipeline
def daily() -> int:
    return load()
"""


def test_a_password_that_nothing_names_is_asked_for_where_it_is_used_and_by_doctor(
    folder: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "shop.py").write_text(SECRET)
    add = 'add to headrace.toml, below [secrets]:  warehouse = "env:WAREHOUSE"'
    assert "nothing says where the secret 'warehouse' is" in say("run", "daily", code=1)
    assert "headrace logs" in say("why", "last")
    assert add in say("logs", "last")
    assert add in say("doctor", code=1)

    toml = folder / "headrace.toml"
    toml.write_text('[project]\nname = "shop"\n[secrets]\nwarehouse = "postgresql://me:hunter2@db/x"\n')
    said = say("run", "daily", code=2)
    assert "says where its value is, never the value itself" in said
    assert f"{toml}:4" in said
    assert "hunter2" not in said

    toml.write_text('[project]\nname = "shop"\n[secrets]\nwarehouse = "env:SHOP_WAREHOUSE"\n')
    say("run", "daily", code=1)
    assert "set the environment variable SHOP_WAREHOUSE" in say("logs", "last")
    monkeypatch.setenv("SHOP_WAREHOUSE", "hunter2")
    assert "succeeded" in say("run", "daily")
    assert not [
        file for file in (folder / ".headrace").rglob("*") if file.is_file() and b"hunter2" in file.read_bytes()
    ]


# -- 6. once more ------------------------------------------------------------------------------------------------------

TWICE = """
import headrace as hr
import polars as pl

whole = hr.Table("whole")
days = hr.Table("days", by="window")
people = hr.Table("people", key="id")

@hr.task
def rows(start: str = "") -> pl.DataFrame:
    return pl.DataFrame({"id": [1, 2], "start": [start, start]})

@hr.task
def rows_of(window: hr.Window) -> pl.DataFrame:
    return pl.DataFrame({"id": [1, 2], "start": [str(window.start.date())] * 2})

@hr.pipeline
def load() -> None:
    found = rows()
    whole.write(found)
    people.write(found)

@hr.pipeline
def load_day(window: hr.Window) -> None:
    days.write(rows_of(window))
"""


def test_a_second_run_doubles_nothing(folder: Path, say: Say) -> None:
    (folder / "shop.py").write_text(TWICE)
    for _ in range(2):
        say("run", "load")
        say("run", "load_day", "--window", "2013-01-01", "1d")
    say("run", "load_day", "--window", "2013-01-02", "1d")
    shop = sys.modules["shop"]
    assert shop.whole.read().height == 2
    assert shop.people.read().height == 2
    assert sorted(shop.days.read()["start"]) == ["2013-01-01"] * 2 + ["2013-01-02"] * 2


def test_a_table_by_window_asks_for_one(folder: Path, say: Say) -> None:
    (folder / "shop.py").write_text(TWICE)
    said = say("run", "load_day", code=4)
    assert "load_day needs a window" in said
    assert "--window 2026-01-01 1d" in said


# -- 7. a run here, beside the engine ----------------------------------------------------------------------------------


@pytest.mark.process
def test_a_run_in_a_notebook_beside_the_engine_just_works_and_leaves_its_record(living: Callable[..., Living]) -> None:
    project = living(TWICE)
    project.start()
    project.ended(project.trigger("load"))
    notebook = "import flow\nrun = flow.load.run()\nprint(run.id, run.state, flow.whole.read().height)"
    ran = subprocess.run(
        [sys.executable, "-c", notebook], cwd=project.root, env=project.environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    run, state, height = ran.stdout.split()
    assert (state, height) == ("succeeded", "2")
    assert project.ended(run) == "succeeded"
    assert project.ended(project.trigger("load")) == "succeeded", "the engine goes on"
    shown = project.command("runs", "ls").stdout
    assert run in shown
    assert shown.count("succeeded") == 3
