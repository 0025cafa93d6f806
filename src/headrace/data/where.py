"""Where in the user's code something was written: `file:line`, found by walking out of Headrace's own frames."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STANDARD = sysconfig.get_path("stdlib") + os.sep


def user_frame() -> FrameType | None:
    """The innermost frame of the user's code: outside this package and, where there is one, outside installed ones.

    A frame in a file goes before one without, such as the `__init__` that a dataclass is given.
    """
    outside = [frame for frame in _frames() if not frame.f_code.co_filename.startswith((_OWN, "<frozen"))]
    users = [frame for frame in outside if not is_library(frame.f_code.co_filename)]
    in_files = (frame for frame in users if not frame.f_code.co_filename.startswith("<"))
    return next(in_files, next(iter(users or outside), None))


def user_line() -> str:
    """`file:line` of the user's code that led here."""
    frame = user_frame()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "<unknown>:0"


def called_at(fn: Callable[..., Any]) -> str | None:
    """`file:line` at which a function that is running now has called what runs here; None when it is not running."""
    code = getattr(fn, "__code__", None)
    frame = next((frame for frame in _frames() if frame.f_code is code), None)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else None


def line_of(fn: Callable[..., Any]) -> str:
    """`file:line` of a function's definition, its first decorator included."""
    code = getattr(fn, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else "<unknown>:0"


def line_of_error(error: BaseException) -> str | None:
    """`file:line` of the innermost user's frame that the error passed through."""
    found: str | None = None
    in_file: str | None = None
    step = error.__traceback__
    while step:
        filename = step.tb_frame.f_code.co_filename
        if not (filename.startswith((_OWN, "<frozen")) or is_library(filename)):
            found = f"{filename}:{step.tb_lineno}"
            in_file = in_file if filename.startswith("<") else found
        step = step.tb_next
    return in_file or found


def is_own(filename: str) -> bool:
    """Whether the file belongs to Headrace itself."""
    return filename.startswith(_OWN)


def is_library(filename: str) -> bool:
    """Whether the file belongs to the standard library or an installed package."""
    return filename.startswith(_STANDARD) or f"{os.sep}site-packages{os.sep}" in filename


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame:
        yield frame
        frame = frame.f_back
