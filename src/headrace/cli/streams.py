"""`headrace streams`: how far each shard is, and what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.cli.here import Here, open_here
from headrace.cli.names import known
from headrace.cli.output import show_fields, show_json, show_line, show_table
from headrace.cli.parser import PLAIN, Common, make_app
from headrace.cli.words import count, local
from headrace.definitions.nodes import DatasetRef
from headrace.definitions.project import CHAMPION, StreamDef
from headrace.runs.reasons import NO_ENGINE

if TYPE_CHECKING:
    from headrace.store.sql.reads.streams import ShardRow

app = make_app("streams", "Streams: how far each shard is, and what it waits for.")


@app.command
def ls(*, common: Common = PLAIN) -> None:
    """All streams, summed up over their shards."""
    from headrace.store.sql.reads import streams, topics

    with open_here(common) as here:
        documents: list[dict[str, Any]] = []
        for name, definition in here.project.streams.items():
            shards = streams.shards(here.db, name)
            heads = topics.heads(here.db, definition.source.topic)
            lags = [lag_of(here, definition, shard) for shard in shards]
            documents.append(
                {
                    "stream": name,
                    "source": definition.source.topic,
                    "to": definition.to,
                    "state": _state(here, shards),
                    "why": _why(shards),
                    "lag_rows": sum(lags if shards else heads.values()),
                    **{what: sum(getattr(s, what) for s in shards) for what in ("rows_in", "rows_out", "dead")},
                }
            )
    if common.json:
        return show_json(documents)
    show_table(
        ("STREAM", "FLOW", "STATE", "#LAG", "#IN", "#OUT", "#DEAD"),
        [
            (
                x["stream"],
                f"{x['source']} > {x['to']}",
                x["state"],
                *(f"{x[what]:,}" for what in ("lag_rows", "rows_in", "rows_out", "dead")),
            )
            for x in documents
        ],
        empty="no streams: decorate a function with @hr.stream(topic, to=…)",
    )
    for x in documents:
        if x["why"]:
            show_line(f"{x['stream']}: {x['why']}")
    return None


@app.command
def show(name: str, /, *, common: Common = PLAIN) -> None:
    """One stream: its shards and what it binds.

    Parameters
    ----------
    name
        The stream.
    """
    from headrace.store.sql.reads import streams

    with open_here(common) as here:
        definition = here.project.streams[known("stream", name, here.project.streams, here=here)]
        shards = streams.shards(here.db, name)
        lags = [lag_of(here, definition, shard) for shard in shards]
        states = [_state(here, [shard]) for shard in shards]
    if common.json:
        return show_json(
            {
                "definition": definition,
                "shards": [{"shard": shard, "lag_rows": lag} for shard, lag in zip(shards, lags, strict=True)],
            }
        )
    show_fields(
        [
            ("stream", name),
            ("flow", f"{definition.source.topic} > {definition.to}"),
            ("joins", ", ".join(join.topic for join in definition.source.joins)),
            ("binds", ", ".join(f"{param}={bound_to(ref)}" for param, ref in definition.bind.items())),
            ("rows", definition.rows),
            ("not read", _skipped(shards)),
            ("why", _why(shards)),
        ]
    )
    print()
    return show_table(
        ("#SHARD", "STATE", "#LAG", "#IN", "#OUT", "#DEAD", "MODEL", "AT"),
        [
            (
                s.shard,
                state,
                f"{lag:,}",
                f"{s.rows_in:,}",
                f"{s.rows_out:,}",
                f"{s.dead:,}",
                f"{s.model} {s.model_version}" if s.model else "",
                local(s.at_us),
            )
            for s, state, lag in zip(shards, states, lags, strict=True)
        ],
        empty=f"it has never run: headrace why {name}",
    )


def bound_to(ref: DatasetRef) -> str:
    """A reference as it is written in the code.

    >>> bound_to(DatasetRef("model", "delay", "alias", "champion")), bound_to(DatasetRef("table", "prices", "latest"))
    ('delay.champion()', 'prices.latest()')
    """
    if ref.how == "alias" and ref.arg == CHAMPION:
        return f"{ref.name}.champion()"
    return f"{ref.name}.{ref.how}({'' if ref.arg is None else repr(ref.arg)})"


def lag_of(here: Here, definition: StreamDef, shard: ShardRow) -> int:
    """Rows of the shard's partition that it has not processed: all of them before it has started."""
    from headrace.store.sql.reads import topics

    return max(topics.heads(here.db, definition.source.topic).get(shard.shard, 0) - (shard.next_offset or 0), 0)


def _skipped(shards: list[ShardRow]) -> str:
    """Rows that were there before the stream began, and why it does not read them; "" for none."""
    behind = [shard for shard in shards if shard.start_offset]
    reasons = ", ".join(dict.fromkeys(shard.start_why or "" for shard in behind))
    return f"{count(sum(shard.start_offset or 0 for shard in behind), 'row')} before it: {reasons}" if behind else ""


def _why(shards: list[ShardRow]) -> str:
    """Why shards do not advance, each reason once; "" where all do."""
    return "; ".join(dict.fromkeys(why for shard in shards if (why := _why_held(shard))))


def _why_held(shard: ShardRow) -> str | None:
    """Why it stands still: also for want of any version of its model that loads."""
    return shard.why or (None if shard.model_version else shard.model_problem)


def _state(here: Here, shards: list[ShardRow]) -> str:
    if here.engine is None:
        return f"stopped: {NO_ENGINE}"
    if not shards:
        return "never ran"
    if any(shard.is_stopped for shard in shards):
        return "stopped"
    if any(_why_held(shard) for shard in shards):
        return "held"
    return "running" if all(shard.next_offset is not None for shard in shards) else "waiting"
