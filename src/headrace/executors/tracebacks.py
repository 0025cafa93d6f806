"""What a user reads of an exception in his task: one line, and the traceback without the frames of Headrace.

Both name the user's own files, where the process runs a copy of them, and conceal its secrets.
"""

from __future__ import annotations

import traceback
from pathlib import Path

from headrace.errors import HeadraceError
from headrace.executors.redaction import redacted

_HERE = f"{Path(__file__).parent.parent}/"
_LINE_LIMIT = 500
_DETAIL_LIMIT = 65_536
_originals: dict[str, str] = {}  # folder of a copy → the folder that it is a copy of


def show_originals(copy: Path, root: Path, package: str) -> None:
    """In this process, files below `copy` are named as the files of the project at `root` that they are copies of."""
    if copy == root:
        return
    first = package.partition(".")[0]
    places = (base for base in (root, root / "src") if (base / first).exists() or (base / f"{first}.py").exists())
    _originals[f"{copy}/"] = f"{next(places, root)}/"


def told(text: str) -> str:
    """The text as a user may read it: his own files, and no secrets."""
    for copy, original in _originals.items():
        text = text.replace(copy, original)
    # A file name that is no text comes as lone surrogates, which no report could carry.
    return redacted(text.encode("utf-8", "backslashreplace").decode())


def one_line(error: BaseException) -> str:
    """`ValueError: could not …`, the first line of its message; with the code where it is one of ours.

    >>> one_line(KeyError("a"))
    "KeyError: 'a'"
    """
    if isinstance(error, HeadraceError):
        text = f"{type(error).__name__} {error.code}: {error.message}"
    else:
        text = traceback.format_exception_only(error)[-1]
    first = told(text).strip().partition("\n")[0]
    return first if len(first) <= _LINE_LIMIT else f"{first[: _LINE_LIMIT - 1]}…"


def user_frames(error: BaseException) -> str:
    """The traceback from the user's first frame on, causes and groups included; at most 64 KiB, cut in the middle."""
    shown = traceback.TracebackException.from_exception(error, max_group_depth=3)
    _cut(shown, seen=set())
    text = told("".join(shown.format()))
    if len(text) <= _DETAIL_LIMIT:
        return text
    half = _DETAIL_LIMIT // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _cut(shown: traceback.TracebackException, seen: set[int]) -> None:
    if id(shown) in seen:
        return
    seen.add(id(shown))
    theirs = [index for index, frame in enumerate(shown.stack) if not frame.filename.startswith(_HERE)]
    # Raised by Headrace itself, for example by a read inside the task: keep its frames below the user's.
    shown.stack = traceback.StackSummary.from_list(list(shown.stack)[theirs[0] :] if theirs else [])
    for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if other is not None:
            _cut(other, seen)
