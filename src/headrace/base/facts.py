"""A fact: one immutable record of something that happened, with the bytes that are stored of it.

A body is a JSON array in the order of the fields, so a stored fact is short and still legible. New fields are added at
the end with a default; any other change of meaning raises `version` and adds an upcast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec

from headrace.errors import StoreError

Upcast = Callable[[list[Any]], list[Any]]


class Fact(msgspec.Struct, frozen=True, array_like=True):
    """Base of all facts. Names are past tense; `at_us` (UTC microseconds) is given by the decider, never by the store.

    `lasting` facts are kept for ever. Of the others those about a run are dropped with its details, once it is old.
    """

    version: ClassVar[int] = 1
    lasting: ClassVar[bool] = True

    @property
    def kind(self) -> str:
        return type(self).__name__


class Stored(msgspec.Struct, frozen=True):
    """A fact with its place: `log` and the gapless `seq` in it."""

    log: str
    seq: int
    fact: Fact


def encode(fact: Fact) -> bytes:
    """The bytes that are stored, never rewritten afterwards."""
    return msgspec.json.encode(fact)


def decode(
    kind: str, version: int, body: bytes, kinds: Mapping[str, type[Fact]], upcasts: Mapping[tuple[str, int], Upcast]
) -> Fact:
    """Read a stored fact, lifting old versions by pure upcasts.

    Raises StoreError where the kind or version is unknown: an older Headrace must not guess.
    """
    shape = kinds.get(kind)
    if shape is None or version > shape.version:
        raise StoreError(
            f"this store holds a fact {kind!r} version {version}, which this version of Headrace does not know",
            cure="it was written by a newer Headrace: upgrade with  pip install --upgrade headrace",
            code="HR4010",
        )
    if version == shape.version:
        return msgspec.json.decode(body, type=shape)
    raw = msgspec.json.decode(body)
    for step in range(version, shape.version):
        raw = upcasts[kind, step](raw)
    return msgspec.convert(raw, type=shape)
