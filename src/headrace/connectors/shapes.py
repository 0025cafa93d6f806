"""Topics without `schema=`: their columns are those of the first rows that were appended, and stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import polars as pl

from headrace.connectors.fitting import UNTYPED, declared_words, fit
from headrace.data.facts import TopicShaped
from headrace.data.schema import columns
from headrace.definitions.project import TopicDef


class Shaped(NamedTuple):
    """Rows that fit the topic, as if it had been declared, and the fact to commit with them, if its columns are new."""

    topic: TopicDef
    rows: pl.DataFrame
    fact: TopicShaped | None = None


class Shapes:
    """The columns of topics as one writer knows them. What it has shaped itself is provisional until `settle`.

    `read` asks the store. Two writers that shape one topic at once are told apart at the commit: the second is refused
    with HR4061, and finds the columns when it asks again.
    """

    def __init__(self, read: Callable[[str], dict[str, str] | None]) -> None:
        self._read = read
        self._known: dict[str, dict[str, str]] = {}
        self._new: dict[str, dict[str, str]] = {}

    def shape(self, topic: TopicDef, rows: pl.DataFrame | list[dict[str, Any]], at_us: int) -> Shaped:
        """The rows, fitted to the topic's columns, those of these rows where it has none yet.

        Raises `SchemaError` where they do not fit, or a column has a type that no schema can name, or mixes types.
        """
        if topic.schema is not None or not len(rows):
            return Shaped(topic, fit(topic, rows))
        known = self._columns(topic.name)
        given = topic if known is None else msgspec.structs.replace(topic, schema=known)
        frame = fit(given, rows)
        words = _words(frame, declared_words(given, rows), known)
        shaped = msgspec.structs.replace(topic, schema=words)
        if words == known:
            return Shaped(shaped, frame)
        frame = fit(shaped, frame)  # before anything is remembered: it may not fit
        self._new[topic.name] = words
        return Shaped(shaped, frame, TopicShaped(topic.name, words, at_us))

    def settle(self) -> None:
        """What was shaped is committed."""
        self._known |= self._new
        self._new.clear()

    def forget(self) -> None:
        """What was shaped is not committed."""
        self._new.clear()

    def _columns(self, topic: str) -> dict[str, str] | None:
        if topic in self._new:
            return self._new[topic]
        known = self._known.get(topic)
        if known is None or UNTYPED in known.values():  # another writer may have changed that
            known = self._read(topic)
            if known is not None:
                self._known[topic] = known
        return known


def _words(frame: pl.DataFrame, declared: dict[str, str | None], known: dict[str, str] | None) -> dict[str, str]:
    """Column → type word: what is known stays, and nulls only have no type yet."""
    words = dict.fromkeys(frame.columns, UNTYPED) if known is None else dict(known)
    for name, dtype in frame.schema.items():
        if words.get(name) == UNTYPED and dtype != pl.Null:
            words[name] = declared[name] or columns({name: dtype}).types[name]
    return words
