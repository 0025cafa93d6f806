"""Listings: what they show of rows and errors, in which order, and in how many lines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from headrace.base.instants import to_us
from headrace.definitions import project as definitions
from headrace.graph.project import load_project
from headrace.ports import Append
from headrace.runs import facts as f
from headrace.streams import facts as s

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import FakeEngine, Headrace
    from headrace.base.facts import Fact
    from headrace.store.sql.store import SqlStore

pytestmark = pytest.mark.headrace_project

AT = 1_700_000_000_000_000
CONTRACT = "topic typed: row 0, column 'id': expected int, got 'i0' (str)\n  give a whole number; nothing was appended"
RAISED = "Traceback (most recent call last):\n  File …\nValueError: no delay\n  and a second line"


def save(project: Path, text: str) -> None:
    """Add to the project's code; what this process has imported of it is forgotten, as in the process of a command."""
    with (project / "cliflights" / "pipelines.py").open("a") as file:
        file.write(text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "cliflights"]:
        del sys.modules[name]


@pytest.fixture
def letters(store: SqlStore) -> SqlStore:
    """Three rows of one batch that died, each in its own way."""
    errors = (CONTRACT, RAISED, "killed by SIGKILL")
    batch: list[Fact] = [
        s.ShardStarted("score", 0, 0, AT),
        s.BatchCommitted("score", 0, 0, 0, 3, 3, 0, 0, 3, "c0de", AT),
    ]
    batch += [
        s.DeadLettered("score", 0, 0, "departures", 0, n, "error", error, "{}", "c0de", AT)
        for n, error in enumerate(errors)
    ]
    store.commit([Append("shard:score:0", 0, tuple(batch))])
    return store


def test_dead_letters_are_listed_newest_first_with_what_went_wrong(headrace: Headrace, letters: SqlStore) -> None:
    rows = headrace("dead-letters", "ls", "--json").json()
    assert [row["offset"] for row in rows] == [2, 1, 0]
    out = " ".join(headrace("dead-letters", "ls").out.split())
    assert "ValueError: no delay" in out
    assert "expected int, got 'i0' (str)" in out
    assert "nothing was appended" not in out
    assert "second line" not in out


def test_older_dead_letters_are_on_the_next_page(headrace: Headrace, letters: SqlStore) -> None:
    first = headrace("dead-letters", "ls", "score", "--limit", 2, "--json").json()
    told = headrace("dead-letters", "ls", "score", "--limit", 2)
    assert f"--before {first[-1]['id']}" in told.err
    (last,) = headrace("dead-letters", "ls", "score", "--before", first[-1]["id"], "--json").json()
    assert last["offset"] == 0


def test_a_row_is_one_line_where_there_is_no_terminal(
    headrace: Headrace, letters: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(headrace("dead-letters", "ls").out.splitlines()) > 4, "eighty columns are asked for"
    monkeypatch.delenv("COLUMNS")
    lines = headrace("dead-letters", "ls").out.splitlines()
    assert len(lines) == 4
    assert lines[-1].endswith("topic typed: row 0, column 'id': expected int, got 'i0' (str)")
    assert lines[1].endswith("killed by SIGKILL")


def test_topics_are_listed_with_their_declared_partitions(headrace: Headrace, store: SqlStore) -> None:
    assert headrace("topics", "append", "departures", "--json-row", '{"flight_id": "UA-1", "delay": 1.0}').code == 0
    rows = {line.split()[0]: line.split()[1:3] for line in headrace("topics", "ls").out.splitlines()}
    assert rows["departures"] == ["2", "1"]


def test_a_table_shows_its_last_rows(headrace: Headrace, project: Path) -> None:
    save(
        project,
        "\n@hr.task(to=daily)\ndef means() -> pl.DataFrame:\n    return pl.DataFrame({'day': [1, 2, 3]})\n"
        "\n@hr.pipeline\ndef publish() -> pl.DataFrame:\n    return means()\n",
    )
    empty = headrace("tables", "show", "daily", "--rows", 2)
    assert empty.code == 0
    assert "it has no rows" in empty.err
    done = headrace("run", "publish")
    assert done.out.splitlines()[-1] == "result  DataFrame 3 x 1: day"
    assert headrace("tables", "show", "daily", "--rows", 2).out.split()[-3:] == ["day", "2", "3"]
    assert headrace("tables", "show", "daily", "--rows", 2, "--json").json()["rows"] == [{"day": 2}, {"day": 3}]


def test_what_was_saved_and_is_not_deployed_yet_is_told_from_what_is_nowhere(
    headrace: Headrace, engine: FakeEngine, project: Path
) -> None:
    save(project, '\nweather = hr.Topic("weather")\n')
    saved = headrace("topics", "append", "weather", "--json-row", "{}")
    assert saved.code == 3
    assert "there is no topic 'weather' yet: the code has it" in saved.err
    nowhere = headrace("topics", "append", "wether", "--json-row", "{}")
    assert nowhere.code == 3
    assert "the code has it" not in nowhere.err


def test_beside_an_engine_of_another_project_nobody_waits_for_a_deploy_that_never_comes(
    headrace: Headrace, engine: FakeEngine, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    (other / "othflights").mkdir(parents=True)
    (other / "headrace.toml").write_text('[project]\nname = "othflights"\n')
    (other / "othflights" / "__init__.py").write_text(
        "import headrace as hr\n@hr.task\ndef one() -> int:\n    return 1\n"
        "@hr.pipeline\ndef alone() -> int:\n    return one()\n"
    )
    monkeypatch.setenv("HEADRACE_HOME", str(project / ".headrace"))
    result = headrace("trigger", "alone", "--project", other)
    assert result.code == 3
    assert result.err.splitlines() == [
        "HR2010 there is no pipeline 'alone': the engine on this store serves the project cliflights",
        f"  at   {project / '.headrace'}",
        "  try  othflights needs a store of its own: HEADRACE_HOME says which one it takes",
    ]


def test_a_trigger_without_a_window_says_which_topic_bounds_it(
    headrace: Headrace, engine: FakeEngine, store: SqlStore, project: Path, write: Callable[..., None]
) -> None:
    save(
        project,
        "\nrides = hr.Topic('rides', schema={'id': str, 'at': 'datetime'}, event_time='at')\n"
        "\n@hr.task\ndef read(window: hr.Window) -> int:\n    return rides.read(window).height\n"
        "\n@hr.pipeline(window='all')\ndef fit(window: hr.Window) -> int:\n    return read(window)\n",
    )
    body = definitions.encode(load_project(project, "cliflights").project)
    write(store, f.CodeDeployed("c0df", msgspec.Raw(body), 1))
    row = '{"id": "a", "at": "2026-01-02T00:00Z"}'
    assert headrace("topics", "append", "rides", "--json-row", row).code == 0
    end_us = to_us("2026-01-02T00:00Z")
    run = f.RunCreated("1ng66r0y5e46", "fit", "c0df", "k", "person", AT, window=(0, end_us))
    write(store, run)
    told = headrace("trigger", "fit")
    assert told.code == 0, told.err
    assert "window all until 2026-01-02T00:00Z: the topic rides is complete through 2026-01-02T00:00Z" in told.out
    assert "is complete" not in headrace("trigger", "fit", "--window", "2026-01-01", "1d").out
