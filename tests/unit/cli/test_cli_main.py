"""The entry point: help, unknown words, errors as text and as JSON, exit codes, and what is imported."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from headrace.cli.commands import COMMANDS, NOUNS, VERBS
from headrace.cli.main import main

if TYPE_CHECKING:
    from conftest import Headrace

pytestmark = pytest.mark.headrace_project

LONG = "abcde" * 1000
HEAVY = {"polars", "numpy", "sqlalchemy", "alembic", "rich", "cyclopts", "lightgbm", "headrace.app", "msgspec"}


def test_help_loads_no_library_at_all() -> None:
    code = "import sys; from headrace.cli.main import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "trigger" in done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_a_command_that_reads_loads_neither_polars_nor_sqlalchemy(project: object, store: object) -> None:
    code = "import sys; from headrace.cli.main import main; main(['runs', 'ls']);print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"polars", "sqlalchemy", "numpy"} & set(done.stderr.split())


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help(headrace: Headrace, name: str) -> None:
    result = headrace(name, "--help")
    assert result.code == 0
    assert f"headrace {name}" in result.out
    assert "--json" in result.out


@pytest.mark.parametrize(
    ("noun", "verb"), [(noun, verb) for noun, command in NOUNS.items() for verb in command.help.split()]
)
def test_every_noun_has_the_verbs_that_the_overview_promises(headrace: Headrace, noun: str, verb: str) -> None:
    result = headrace(noun, verb, "--help")
    assert result.code == 0
    assert f"headrace {noun} {verb}" in result.out
    assert "--json" in result.out


def test_help_fits_eighty_columns(headrace: Headrace) -> None:
    texts = [headrace("--help").out, *(headrace(name, "--help").out for name in COMMANDS)]
    assert max(len(line) for text in texts for line in text.splitlines()) <= 80


def test_an_unknown_command_names_the_near_one(headrace: Headrace) -> None:
    result = headrace("triger")
    assert result.code == 2
    assert "there is no command 'triger' (did you mean 'trigger'?)" in result.err
    assert result.out == ""


def test_an_unknown_option_says_where_the_help_is(headrace: Headrace) -> None:
    result = headrace("runs", "ls", "--stat", "failed")
    assert result.code == 2
    assert "HR1350" in result.err
    assert "try  headrace runs ls --help" in result.err


def test_an_error_shows_code_message_place_and_cure(headrace: Headrace, tmp_path: object) -> None:
    result = headrace("check", "--project", tmp_path)
    assert result.code == 2
    assert result.err.splitlines() == [
        "HR1303 there is no headrace.toml here or above",
        f"  at   {tmp_path}",
        "  try  headrace new my-project, or go to a project's folder",
    ]


def test_an_error_is_one_json_document_with_json(headrace: Headrace, tmp_path: object) -> None:
    result = headrace("check", "--json", "--project", tmp_path)
    assert result.out == ""
    assert msgspec.json.decode(result.err)["error"] == {
        "code": "HR1303",
        "message": "there is no headrace.toml here or above",
        "where": str(tmp_path),
        "cure": "headrace new my-project, or go to a project's folder",
        "exit_code": 2,
    }


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.errors import SettingsError

    monkeypatch.setenv("HEADRACE_DEBUG", "1")
    with pytest.raises(SettingsError):
        main(["triger"])


def test_version(headrace: Headrace) -> None:
    assert headrace("--version").out.startswith("headrace ")


def test_an_option_in_front_of_the_command_is_shown_where_it_goes(headrace: Headrace) -> None:
    result = headrace("--env", "prod", "check", "--json-row", "a b")
    assert result.code == 2
    assert "--env goes after the command" in result.err
    assert "try  headrace check --json-row 'a b' --env prod" in result.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("runs", "ls", "--limit", "0"), "--limit is from 1 to 1,000, got 0"),
        (("runs", "ls", "--limit", "-1"), "--limit is from 1 to 1,000, got -1"),
        (("runs", "ls", "--limit", "1001"), "--limit is from 1 to 1,000, got 1001"),
        (("dead-letters", "ls", "--limit", "0"), "--limit is from 1 to 1,000, got 0"),
        (("tables", "show", "daily", "--limit", "0"), "--limit is from 1 to 1,000, got 0"),
        (("tables", "show", "daily", "--rows", "-1"), "--rows is 0 or more, got -1"),
        (("topics", "tail", "departures", "-n", "-3"), "-n is 0 or more, got -3"),
        (("trigger", "retrain", "--timeout", "-1"), "--timeout is from 0 to 1,000,000, got -1.0"),
        (("trigger", "retrain", "--timeout", "nan"), "--timeout is from 0 to 1,000,000, got nan"),
        (("runs", "cancel", "last", "--timeout", "inf"), "--timeout is from 0 to 1,000,000, got inf"),
        (("dev", "--workers", "-1"), "--workers is 0 or more, got -1"),
    ],
)
def test_a_number_out_of_its_range_is_refused_alike_everywhere(
    headrace: Headrace, store: object, words: tuple[str, ...], message: str
) -> None:
    result = headrace(*words)
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines()[0] == f"HR1350 {message}"


@pytest.mark.parametrize("words", [("backup", ""), ("restore", ""), ("new", ""), ("runs", "ls", "--project", "")])
def test_an_empty_path_is_no_folder(headrace: Headrace, store: object, words: tuple[str, ...]) -> None:
    result = headrace(*words)
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines()[0] == "HR1350 an empty path names no folder"


@pytest.mark.parametrize(
    "words",
    [
        (LONG,), ("trace", LONG), ("why", LONG), ("runs", "show", LONG), ("runs", "ls", LONG), ("trigger", LONG),
        ("run", LONG), ("tables", "show", LONG), ("dead-letters", "show", LONG),
    ],
)  # fmt: skip
def test_of_a_name_that_is_much_too_long_the_beginning_is_shown(
    headrace: Headrace, store: object, words: tuple[str, ...]
) -> None:
    result = headrace(*words)
    assert result.code in (2, 3)
    assert f"'{LONG[:79]}…'" in result.err
    assert LONG[:80] not in result.err
