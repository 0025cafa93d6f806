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
