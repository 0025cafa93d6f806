"""An error as a reader of a terminal, or of `--json`, meets it: code, message, where, and the next step."""

from __future__ import annotations

import os
import sys

from headrace.errors import HeadraceError


def show(error: HeadraceError, *, as_json: bool) -> None:
    """Print to standard error: `{"error": {…}}` on one line with `as_json`, else a few lines of text."""
    if as_json:
        import msgspec

        print(msgspec.json.encode({"error": as_document(error)}).decode(), file=sys.stderr)
        return
    is_coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    code = f"\x1b[1;31m{error.code}\x1b[0m" if is_coloured else error.code
    print(f"{code} {error.message}", file=sys.stderr)
    if error.where:
        print(f"  at   {error.where}", file=sys.stderr)
    if error.cure:
        print(f"  try  {error.cure}", file=sys.stderr)


def as_document(error: HeadraceError) -> dict[str, object]:
    return {
        "code": error.code,
        "message": error.message,
        "where": error.where,
        "cure": error.cure,
        "exit_code": error.exit_code,
    }
