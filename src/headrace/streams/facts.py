"""What happens to the shards of streams and event triggers. Each shard has a log of its own, which is its fence."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from headrace.base.facts import Fact


class Bound(msgspec.Struct, frozen=True, array_like=True):
    """What a bound parameter was in a batch: a version of a table or model."""

    parameter: str
    kind: str
    name: str
    version_number: int


class BatchCommitted(Fact, frozen=True):
    """Batch `n` of a shard: exactly these offsets went in, and in = out + filtered + dead.

    Output and dead letters are the facts that follow in the same transaction. `sides` are the pinned offsets of joined
    topics, "topic:partition" to end offset.
    """

    lasting: ClassVar[bool] = True
    stream: str
    shard: int
    n: int
    first: int
    end: int
    rows_in: int
    rows_out: int
    filtered: int
    dead: int
    code: str
    at_us: int
    watermark_us: int | None = None
    bound: tuple[Bound, ...] = ()
    sides: dict[str, int] = {}


class ProgressMade(Fact, frozen=True):
    """A shard has nothing new to say but how far event time is complete."""

    lasting: ClassVar[bool] = False
    stream: str
    shard: int
    watermark_us: int
    at_us: int


class ShardStarted(Fact, frozen=True):
    """The shard begins to read at `offset` because everything that it binds exists now, or because `start=` says so."""

    stream: str
    shard: int
    offset: int
    at_us: int
    why: str = ""


class ShardDied(Fact, frozen=True):
    """The process died (or was killed) while it held the batch that begins at `offset`: written by the next owner."""

    stream: str
    shard: int
    offset: int
    deaths: int
    at_us: int


class ShardHeld(Fact, frozen=True):
    """The shard does not advance, and why; `until_us` where it will try by itself. Without a `why` it goes on."""

    stream: str
    shard: int
    why: str
    at_us: int
    stopped: bool = False
    until_us: int | None = None

    @property
    def goes_on(self) -> bool:
        return not self.why


class ModelHeld(Fact, frozen=True):
    """From batch `n` on the shard scores with this version."""

    stream: str
    shard: int
    model: str
    version_number: int
    n: int
    at_us: int
    problem: str = ""  # set where a newer version could not be loaded: the shard keeps this one


class DeadLettered(Fact, frozen=True):
    """One input row that could not be processed, kept with its reason until it is re-driven."""

    stream: str
    shard: int
    n: int
    topic: str
    partition: int
    offset: int
    reason: str  # "error" | "decode" | "crashed" | "contract"
    error: str
    payload: str  # the row as JSON, or the raw text
    code: str
    at_us: int


class TriggerFired(Fact, frozen=True):
    """An event trigger has a complete group: exactly one run follows, or one recorded suppression."""

    pipeline: str
    slug: str
    key: str
    ranges: tuple[tuple[str, int, int, int], ...]  # (topic, partition, first, end)
    event_time_us: int
    at_us: int


class TriggerProgressed(Fact, frozen=True):
    """How far an event trigger has read, and the events it still holds, as the canonical JSON of its group state."""

    lasting: ClassVar[bool] = False
    pipeline: str
    slug: str
    offsets: tuple[int, ...]  # next offset per partition
    held: msgspec.Raw
    expired: int
    at_us: int


class TriggerHeld(Fact, frozen=True):
    """An event trigger does not read on, and why. Its next owner tries again; progress says that it goes on."""

    pipeline: str
    slug: str
    why: str
    at_us: int
