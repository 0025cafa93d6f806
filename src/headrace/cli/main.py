"""The entry point `headrace`: finds the command, and turns what it raises into a message and an exit code."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from collections.abc import Sequence

from headrace.base.near import near
from headrace.base.shown import shown
from headrace.cli import failures
from headrace.cli.commands import COMMANDS, overview
from headrace.cli.output import silence
from headrace.errors import HeadraceError, SettingsError, StoreError

INTERRUPTED = 130
_OF_COMMANDS = ("--json", "--env", "--project")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` is without the program's name. Returns the exit code, see docs/errors.md."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("--help", "-h", "help"):
        print(overview())
        return 0
    if words[0] in ("--version", "version"):
        import headrace

        print(f"headrace {headrace.__version__}")
        return 0
    try:
        _check_text(words)
        return _call(words)
    except HeadraceError as error:
        if os.environ.get("HEADRACE_DEBUG") == "1":
            raise
        failures.show(error, as_json="--json" in words)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        silence()  # the reader (`head`, a pager) has gone
        return 0
    except OSError as error:
        if os.environ.get("HEADRACE_DEBUG") == "1":
            raise
        if error.filename is None:
            silence()
        refused = _refused(error)
        failures.show(refused, as_json="--json" in words)
        return refused.exit_code


def _refused(error: OSError) -> StoreError:
    """What the system refused a command: a path that was given, or its output on a full disk."""
    return StoreError(
        f"the system refused: {error.strerror or error}",
        where=str(error.filename)[:200] if error.filename is not None else "output",
        cure="look at the path, its rights, and the space on its disk",
        code="HR4090",
    )


def _check_text(words: list[str]) -> None:
    """Raises SettingsError for a word with bytes that are no UTF-8: nothing could store or show it."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise SettingsError(
                f"an argument is not UTF-8: {os.fsencode(word)!r}",
                cure="write it in UTF-8; a file or folder with such a name has to be renamed",
                code="HR1350",
            ) from None


def _too_early(words: list[str]) -> SettingsError:
    """The error for options in front of the command, with the line as it was meant."""
    at = next((at for at, word in enumerate(words) if word in COMMANDS), len(words))
    meant = ["headrace", *(words[at:] or ["COMMAND"]), *words[:at]]
    return SettingsError(f"{words[0]} goes after the command", cure=shlex.join(meant), code="HR1350")


def _call(words: list[str]) -> int:
    name = words[0]
    if name.partition("=")[0] in _OF_COMMANDS:
        raise _too_early(words)
    if name not in COMMANDS:
        raise SettingsError(
            f"there is no command {shown(name)}{near(name, COMMANDS)}", cure="headrace --help", code="HR1350"
        )
    from cyclopts import CycloptsError

    app = importlib.import_module(f"headrace.cli.{COMMANDS[name].module}").app
    try:
        code = app(words[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        called = " ".join(["headrace", name, *(error.command_chain or ())])
        raise SettingsError(str(error).strip(), cure=f"{called} --help", code="HR1350") from None
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
