"""The step of an event trigger: a built-in stream of one shard over all partitions of its topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from headrace.base.facts import Fact
from headrace.definitions.project import OnEvent
from headrace.streams.facts import TriggerFired, TriggerHeld, TriggerProgressed
from headrace.triggers.groups import EventGroup


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger as its owner knows it. `offsets` are the next ones to read, by partition.

    `is_saved` is False where it has read further than its last committed progress.
    """

    pipeline: str
    definition: OnEvent
    offsets: tuple[int, ...]
    group: EventGroup
    expired: int = 0
    is_saved: bool = False

    @property
    def log(self) -> str:
        return trigger_log(self.pipeline, self.definition.slug)


@dataclass(frozen=True, slots=True)
class TriggerStep:
    """What a trigger is once `facts` are committed. None of them carries bytes."""

    trigger: Trigger
    facts: tuple[Fact, ...] = ()
    bodies: Mapping[int, bytes] = field(default_factory=dict[int, bytes])


def trigger_log(pipeline: str, slug: str) -> str:
    """
    >>> trigger_log("investigate", "event outcomes diverted")
    'trigger:investigate:event outcomes diverted'
    """
    return f"trigger:{pipeline}:{slug}"


def fresh(pipeline: str, definition: OnEvent, offsets: tuple[int, ...]) -> Trigger:
    """A trigger that has read nothing yet."""
    return Trigger(pipeline, definition, offsets, EventGroup(definition.count, definition.within_us))


def restored(
    pipeline: str, definition: OnEvent, offsets: tuple[int, ...], held: bytes, expired: int, partitions: int
) -> Trigger:
    """A trigger as its last owner left it. Events held under another `count` or `within` are kept."""
    group = msgspec.json.decode(held, type=EventGroup)
    group = msgspec.structs.replace(group, count=definition.count, within_us=definition.within_us)
    filled = offsets + (0,) * (partitions - len(offsets))
    return Trigger(pipeline, definition, filled, group, expired, is_saved=True)


def read(
    trigger: Trigger, events: Sequence[tuple[int, int, int, int]], ends: Mapping[int, int], at_us: int
) -> TriggerStep:
    """Rows up to `ends` were read, and these (event time, partition, offset, time of its append) among them match.

    Full groups are committed at once, with the progress; without one there is nothing to say yet.
    """
    offsets = tuple(ends.get(partition, offset) for partition, offset in enumerate(trigger.offsets))
    group, fired, expired = trigger.group.add(events)
    after = replace(trigger, offsets=offsets, group=group, expired=trigger.expired + expired, is_saved=False)
    if not fired:
        return TriggerStep(after)
    topic, slug = trigger.definition.topic, trigger.definition.slug
    # A model that was asked to train in the year 2999 would take every later ask for one that is not newer.
    most_us = at_us if group.newest_us is None else group.newest_us
    news = tuple(
        TriggerFired(
            pipeline=trigger.pipeline,
            slug=slug,
            key=full.key,
            ranges=tuple((part.topic, part.partition, part.first, part.end) for part in full.ranges(topic)),
            event_time_us=min(full.events[-1].time_us, most_us),
            at_us=at_us,
        )
        for full in fired
    )
    saved = save(after, at_us)
    return TriggerStep(saved.trigger, news + saved.facts)


def save(trigger: Trigger, at_us: int) -> TriggerStep:
    """Commit how far it has read."""
    if trigger.is_saved:
        return TriggerStep(trigger)
    fact = TriggerProgressed(
        pipeline=trigger.pipeline,
        slug=trigger.definition.slug,
        offsets=trigger.offsets,
        held=msgspec.Raw(msgspec.json.encode(trigger.group)),
        expired=trigger.expired,
        at_us=at_us,
    )
    return TriggerStep(replace(trigger, is_saved=True), (fact,))


def stopped(trigger: Trigger, why: str, at_us: int) -> TriggerStep:
    """It cannot read on: its owner does not try again, the next one does."""
    saved = save(trigger, at_us)
    return TriggerStep(
        saved.trigger, (*saved.facts, TriggerHeld(trigger.pipeline, trigger.definition.slug, why, at_us))
    )
