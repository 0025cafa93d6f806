"""How commands are parsed: the options that all of them share, and apps that look alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every command."""

    json: Annotated[bool, Parameter(name="--json")] = False
    "Print JSON instead of text."

    env: Annotated[str | None, Parameter(name="--env")] = None
    "Lay [env.NAME] of headrace.toml over its base."

    project: Annotated[Path | None, Parameter(name="--project")] = None
    "The project's folder; by default the nearest one with a headrace.toml, upwards from here."


PLAIN = Common()

Wait = Annotated[float, Parameter(name="--timeout", help="Seconds to wait for the engine's answer.")]


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
