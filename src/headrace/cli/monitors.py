"""`headrace monitors`: the windows that were judged, and what they crossed."""

from __future__ import annotations

from headrace.cli.here import open_here
from headrace.cli.names import known
from headrace.cli.output import show_fields, show_json, show_table
from headrace.cli.parser import PLAIN, Common, Limit, make_app
from headrace.cli.words import length, span

app = make_app("monitors", "Monitors: the windows that were judged, and what they crossed.")


@app.command
def ls(*, common: Common = PLAIN) -> None:
    """All monitors with their last window."""
    from headrace.store.sql.reads import monitors

    with open_here(common) as here:
        definitions = here.project.monitors
        last = {name: next(iter(monitors.windows(here.db, name, limit=1)), None) for name in definitions}
    if common.json:
        return show_json([{"monitor": name, "last": window} for name, window in last.items()])
    return show_table(
        ("MONITOR", "TOPIC", "MODEL", "LAST WINDOW", "VERDICT"),
        [
            (
                name,
                definition.topic,
                definition.model,
                span((w.start_us, w.end_us)) if (w := last[name]) else "none yet",
                _verdict(w.crossed, w.is_judged) if w else "",
            )
            for name, definition in definitions.items()
        ],
        empty="no monitors: hr.monitor(scores, model=delay, …)",
    )


@app.command
def show(name: str, /, *, limit: Limit = 20, common: Common = PLAIN) -> None:
    """One monitor: its limits, and its windows newest first.

    Parameters
    ----------
    name
        The monitor.
    limit
        How many windows.
    """
    from headrace.store.sql.reads import monitors

    with open_here(common) as here:
        definition = here.project.monitors[known("monitor", name, here.project.monitors, here=here)]
        windows = monitors.windows(here.db, name, limit=limit)
        streaks = [row for row in monitors.streaks(here.db) if row.asker.startswith(f"{name}:")]
    if common.json:
        return show_json({"definition": definition, "windows": windows, "streaks": streaks})
    limits = [f"{column}: {limit.statistic} > {limit.above:g}" for column, limit in definition.drift.items()]
    if definition.performance is not None:
        p = definition.performance
        limits.append(f"{p.metric} < {p.below:g}" if p.below is not None else f"{p.metric} > {p.above:g}")
    show_fields(
        [
            ("monitor", name),
            ("topic", definition.topic),
            ("model", definition.model),
            ("window", length(definition.window_us)),
            ("limits", ", ".join(limits)),
            ("streaks", ", ".join(f"{row.asker.partition(':')[2]}: {row.length}" for row in streaks)),
        ]
    )
    print()
    return show_table(
        ("WINDOW", "#ROWS", "#VERSION", "VERDICT", "WHY"),
        [
            (span((w.start_us, w.end_us)), f"{w.n:,}", w.version, _verdict(w.crossed, w.is_judged), w.why)
            for w in windows
        ],
        empty=f"no window was judged yet: headrace why {name}",
    )


def _verdict(crossed: dict[str, bool | None], is_judged: bool) -> str:
    """
    >>> _verdict({"drift": True, "performance": None}, True)
    'crossed: drift'
    """
    if not is_judged:
        return "not judged"
    over = [limit for limit, is_over in crossed.items() if is_over]
    return f"crossed: {', '.join(over)}" if over else "within limits"
