"""What a name may look like: it appears in URLs, file names, the command line and SQL."""

from __future__ import annotations

import re

from headrace.base.shown import shown
from headrace.data.where import user_line
from headrace.errors import ProjectError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")


def checked_name(what: str, name: str) -> str:
    """The name itself. Raises `ProjectError` unless it is a letter, then letters, digits, `_ - .`, at most 100."""
    if not _NAME.fullmatch(name):
        raise ProjectError(
            f"{shown(name)} cannot be the name of a {what}",
            where=user_line(),
            cure="a name starts with a letter and holds letters, digits, _ - and ., at most 100 of them",
            code="HR1003",
        )
    return name
