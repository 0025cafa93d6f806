"""What a stream process is to own, as a value and as the text of its `--shards`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headrace.streams.owner import shard_log
from headrace.streams.trigger import trigger_log

_TRIGGER = "trigger/"


@dataclass(frozen=True, slots=True)
class Place:
    """Shard `number` of a stream, or (number None) a trigger of a pipeline."""

    name: str
    number: int | None = None
    slug: str = ""

    @property
    def log(self) -> str:
        return trigger_log(self.name, self.slug) if self.number is None else shard_log(self.name, self.number)


def places_text(places: Iterable[Place]) -> str:
    """
    >>> places_text((Place("score", 1), Place("investigate", slug="event outcomes")))
    'score:1;trigger/investigate/event outcomes'
    """
    return ";".join(f"{_TRIGGER}{p.name}/{p.slug}" if p.number is None else f"{p.name}:{p.number}" for p in places)


def places_of(text: str) -> tuple[Place, ...]:
    """What `places_text` wrote. Raises ValueError for anything else.

    >>> places_of("score:1;trigger/investigate/event outcomes")[1]
    Place(name='investigate', number=None, slug='event outcomes')
    """
    return tuple(map(_place, filter(None, text.split(";"))))


def _place(text: str) -> Place:
    if text.startswith(_TRIGGER):
        pipeline, _, slug = text.removeprefix(_TRIGGER).partition("/")
        return Place(pipeline, slug=slug)
    stream, _, number = text.rpartition(":")
    return Place(stream, int(number))
