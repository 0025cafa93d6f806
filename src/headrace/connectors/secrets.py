"""Secrets: from the reference in `headrace.toml` to the value, in the process that uses it and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from headrace.errors import SettingsError


def resolve(name: str, references: Mapping[str, str]) -> str:
    """The value of a secret, read now. Raises `SettingsError` (HR1310), which never shows a value.

    >>> resolve("path", {"path": "env:PATH"}) == os.environ["PATH"]
    True
    """
    reference = references.get(name)
    if reference is None:
        raise SettingsError(
            f"nothing says where the secret {name!r} is",
            where="[secrets]",
            cure=f'add to headrace.toml, below [secrets]:  {name} = "env:{name.upper()}"',
            code="HR1310",
        )
    kind, _, place = reference.partition(":")
    match kind:
        case "env":
            value = os.environ.get(place)
            if value is None:
                raise _missing(name, reference, f"set the environment variable {place} where Headrace runs")
            return value
        case "file":
            try:
                return Path(place).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
            except OSError as error:
                raise _missing(name, reference, f"make the file readable: {error.strerror}") from None
        case _:
            raise SettingsError(
                f"the secret {name!r} is to be found at {kind!r}, which this version cannot read",
                where=f"[secrets] {name}",
                cure='use "env:NAME" or "file:/path/to/file"',
                code="HR1310",
            )


def _missing(name: str, reference: str, cure: str) -> SettingsError:
    return SettingsError(
        f"the secret {name!r} is not there: {reference}", where=f"[secrets] {name}", cure=cure, code="HR1310"
    )
