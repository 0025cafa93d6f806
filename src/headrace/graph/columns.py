"""Which columns datasets and sources have, as far as their schemas say, and who names one that is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from headrace.base.near import closest
from headrace.data.topic import Source, Topic
from headrace.definitions.project import JoinDef, OnEvent, Problem
from headrace.graph.loaded import Loaded

Schema = Mapping[str, str] | None


def column_problems(loaded: Loaded) -> Iterator[Problem]:
    """Every column that is named somewhere and that no schema has. What has no schema yet is not judged."""
    for topic in loaded.topics.values():
        yield from _topic(topic)
    for name, table in loaded.tables.items():
        for what, column in (("key", table.definition.key), ("known", table.definition.known)):
            yield from _missing(table.definition.schema, column, f"{what}= of the table {name}", table.where)
    for name, model in loaded.models.items():
        if model.labels is not None:
            for what, column in (("on", model.definition.on), ("label", model.definition.label)):
                schema = model.labels.definition.schema
                yield from _missing(schema, column, f"{what}= of the model {name}, labels", model.where)
    for stream in loaded.streams.values():
        yield from _source(stream.source)
    for pipeline in loaded.bodies.values():
        for trigger in pipeline.triggers:
            if isinstance(trigger.definition, OnEvent):
                schema = loaded.topics[trigger.definition.topic].definition.schema
                what = f"where= of an event of {trigger.definition.topic}"
                yield from _missing(schema, trigger.definition.where, what, trigger.where, ("bool",))
    for name, monitor in loaded.monitors.items():
        performance = monitor.definition.performance
        columns = [*monitor.definition.drift, *([performance.prediction] if performance else [])]
        for column in columns:
            yield from _missing(monitor.topic.definition.schema, column, f"the monitor {name}", monitor.where)


def _topic(topic: Topic) -> Iterator[Problem]:
    definition = topic.definition
    name = topic.name
    yield from _missing(definition.schema, definition.key, f"key= of the topic {name}", topic.where)
    times = ("datetime",)
    yield from _missing(
        definition.schema, definition.event_time, f"event_time= of the topic {name}", topic.where, times
    )
    if definition.known != definition.event_time:
        yield from _missing(definition.schema, definition.known, f"known= of the topic {name}", topic.where, times)


def _source(source: Source) -> Iterator[Problem]:
    left: Schema = source.topic.definition.schema
    for dataset, join in source.joined:
        what = f"{{}} of the join with {join.topic}"
        right: Schema = dataset.definition.schema
        yield from _missing(left, join.on, what.format(f"on= ({source.topic.name})"), source.where)
        yield from _missing(left, join.as_of, what.format("as_of="), source.where, ("datetime",))
        yield from _missing(right, join.running.by if join.running else join.on, what.format("on="), source.where)
        for column in join.running.sums if join.running else join.columns or ():
            yield from _missing(right, column, what.format("a column"), source.where)
        left = _joined(left, right, join)


def _joined(left: Schema, right: Schema, join: JoinDef) -> Schema:
    """The columns after a join; unknown as soon as one side is."""
    if left is None:
        return None
    if join.running:
        sums = {f"{join.topic}_{column}": "float" for column in join.running.sums}
        return {**left, f"{join.topic}_count": "int", **sums}
    if right is None:
        return None
    taken = join.columns or tuple(right)
    return {**{column: right[column] for column in taken if column in right}, **left}


def _missing(
    schema: Schema, column: str | None, what: str, where: str, types: tuple[str, ...] = ()
) -> Iterator[Problem]:
    if schema is None or column is None:
        return
    if column not in schema:
        meant = closest(column, schema)
        cure = f"did you mean {meant!r}?" if meant else f"columns are {', '.join(schema)}"
        yield Problem("HR1201", f"{what}: there is no column {column!r}", where, cure)
    elif types and schema[column] not in types:
        message = f"{what}: the column {column!r} is {schema[column]}, not {' or '.join(types)}"
        yield Problem("HR1201", message, where, "name another column, or change its type in the schema")
