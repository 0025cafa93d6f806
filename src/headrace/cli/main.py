"""The entry point `headrace`: finds the command, and turns what it raises into a message and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from headrace.cli import failures
from headrace.cli.commands import COMMANDS, overview
from headrace.errors import HeadraceError, SettingsError
from headrace.settings import near

INTERRUPTED = 130


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
        return _call(words)
    except HeadraceError as error:
        if os.environ.get("HEADRACE_DEBUG") == "1":
            raise
        failures.show(error, as_json="--json" in words)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`head`, a pager) has gone. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _call(words: list[str]) -> int:
    name = words[0]
    if name not in COMMANDS:
        raise SettingsError(
            f"there is no command {name!r}{near(name, COMMANDS)}", cure="headrace --help", code="HR1350"
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
