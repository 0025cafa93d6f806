"""How commands are parsed: the options that all of them share, and apps that look alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, Token

from headrace.errors import SettingsError


def _folder(_: Any, tokens: Sequence[Token]) -> Path:
    """A path that was given. Raises SettingsError for an empty one: `Path("")` would be the folder we are in."""
    word = tokens[0].value
    if not word:
        raise SettingsError(
            "an empty path names no folder", cure="name it; a dot is the folder you are in", code="HR1350"
        )
    return Path(word)


Folder = Annotated[Path, Parameter(converter=_folder)]


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every command."""

    json: Annotated[bool, Parameter(name="--json")] = False
    "Print JSON instead of text."

    env: Annotated[str | None, Parameter(name="--env")] = None
    "Lay [env.NAME] of headrace.toml over its base."

    project: Annotated[Path | None, Parameter(name="--project", converter=_folder)] = None
    "The project's folder; by default the nearest one with a headrace.toml, upwards from here."


PLAIN = Common()

PAGE = 1000  # rows that the store gives at once


def within(name: str, least: float, most: float = math.inf) -> Callable[[Any, float | None], None]:
    """A check of a number, for the parser. What it refuses is told alike of every option."""

    def check(_: Any, value: float | None) -> None:
        if value is not None and not least <= value <= most:  # not a number is neither
            said = f"{least:,} or more" if most == math.inf else f"from {least:,} to {most:,}"
            raise SettingsError(f"{name} is {said}, got {value}", code="HR1350")

    return check


Wait = Annotated[
    float,
    Parameter(
        name="--timeout", help="Seconds to wait for the engine's answer.", validator=within("--timeout", 0, 1_000_000)
    ),
]
Limit = Annotated[int, Parameter(name="--limit", validator=within("--limit", 1, PAGE))]


def make_app(name: str, summary: str) -> App:
    """The parser of one verb or noun."""
    app = App(
        name=f"headrace {name}",
        help=summary,
        version_flags=(),
        default_parameter=Parameter(negative=(), show_default=False),
    )
    app["--help"].show = False
    return app
