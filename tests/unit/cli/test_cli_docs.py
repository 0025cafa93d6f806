"""The pages about the command line say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from headrace import errors
from headrace.cli.commands import NOUNS, VERBS
from headrace.settings import read_settings

ROOT = Path(__file__).parents[3]
_CODE = re.compile(r"\bHR\d{4}\b")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def test_every_error_code_of_the_code_is_in_the_table_and_no_other() -> None:
    used = {
        code
        for path in (ROOT / "src").rglob("*.py")
        if "testing" not in path.parts
        for code in re.findall(r'"(HR\d{4})"', path.read_text())
    }
    told = re.findall(r"^\| (HR\d{4}) \|", page("errors.md"), re.MULTILINE)
    assert sorted(told) == told, "the table is in order"
    assert set(told) == used


def test_every_exit_code_is_in_the_table() -> None:
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", page("errors.md"), re.MULTILINE)}
    assert told == {kind.exit_code for kind in classes} | {0, 130}


def test_every_command_is_told() -> None:
    text = page("cli.md")
    for name in VERBS:
        assert f"| `headrace {name}" in text
    for name, command in NOUNS.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `headrace {name}` |")]
        assert re.findall(r"`(\w+)`", row.partition("|")[2].partition("|")[2]) == command.help.split()


def test_every_setting_is_told(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text('[project]\nname = "x"\n')
    told = set(re.findall(r"^\| `(\w+)` \| `HEADRACE_\w+`", page("configuration.md"), re.MULTILINE))
    assert told == set(read_settings(tmp_path, environ={}).origins)


def test_the_example_of_the_page_is_sound(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", page("configuration.md"), re.DOTALL)
    (tmp_path / "headrace.toml").write_text(example)
    settings = read_settings(tmp_path, env="prod", environ={})
    assert (settings.name, settings.workers, settings.schedules) == ("flights", 16, True)
    assert settings.secrets == {"warehouse": "file:/run/secrets/warehouse"}


def test_no_page_names_a_code_that_is_not_in_the_table() -> None:
    told = set(_CODE.findall(page("errors.md")))
    for path in (ROOT / "docs").glob("*.md"):
        assert set(_CODE.findall(path.read_text())) <= told, path.name
