"""`headrace trace`: from a prediction back to model, run, data and code."""

from __future__ import annotations

from headrace.cli.here import open_here
from headrace.cli.output import show_json, show_line
from headrace.cli.parser import PLAIN, Common, make_app

app = make_app("trace", "Trace a prediction back to model, run, data and code.")


@app.default
def trace(key: str, /, *, common: Common = PLAIN) -> None:
    """Trace a prediction, a run or a version back to model version, training run, data versions, code and offsets.

    Parameters
    ----------
    key
        The key of a row, or its place TOPIC/PARTITION/OFFSET, a run's id, or MODEL:VERSION.
    """
    from headrace.lineage.trace import trace as trace_key

    with open_here(common) as here:
        found = trace_key(here.store, here.project, key)
        lines = found.lines()
    if common.json:
        return show_json(found)
    for line in lines:
        show_line(line)
    return None
