"""The shard owner's step: from what a shard is and what happened to it, the facts to commit and what it is then.

Nothing here reads, runs or commits. A `Step` is adopted when its facts are committed, and forgotten otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from headrace.base.facts import Fact
from headrace.data.facts import TopicAppended, TopicShaped
from headrace.streams.facts import (
    BatchCommitted,
    Bound,
    DeadLettered,
    ModelHeld,
    ProgressMade,
    ShardDied,
    ShardHeld,
    ShardStarted,
)

WATCHED_ROWS = 1_000
DEAD_SHARE = 0.05  # of the watched rows; above it the shard stops, for then the function is at fault and not the rows
TRIAL_DEAD = 5  # so many are enough for one that had stopped: whoever starts it again may have mended nothing
BACKOFF_US = (1_000_000, 2_000_000, 5_000_000, 15_000_000, 60_000_000)
CUT_FROM_ROWS = 1_024
CUT_AFTER_DEATH = 8  # each death costs a process start, so a batch that kills is cut to an eighth, not to a half
ALONE_AFTER_DEATHS = 8  # so many deaths cut even the largest batch (sizing.MOST_ROWS) down to its first row


@dataclass(frozen=True, slots=True)
class Hand:
    """What a process had in hand when it died: user code was running over the offsets [first, end).

    `is_suspect`: the batch was already a piece of one that had raised or killed.
    """

    first: int
    end: int
    is_suspect: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Batch `n`: exactly the offsets [first, end). With `is_given_up` the row is a dead letter, its code is not run."""

    n: int
    first: int
    end: int
    is_given_up: bool = False

    @property
    def rows(self) -> int:
        return self.end - self.first


@dataclass(frozen=True, slots=True)
class Dead:
    """An input row that has no output. `reason` is "error", "decode", "crashed" or "contract"."""

    offset: int
    reason: str
    error: str
    payload: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch. `output` are the facts and bytes that append its rows, `shape` the columns they bring."""

    rows_out: int
    filtered: int
    dead: tuple[Dead, ...] = ()
    output: tuple[tuple[TopicAppended, bytes], ...] = ()
    bound: tuple[Bound, ...] = ()
    sides: Mapping[str, int] = field(default_factory=dict[str, int])
    shape: TopicShaped | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as its owner knows it. `offset` is the next to read, None until it starts.

    `suspect_end` is set while a batch that raised or killed is cut down: up to there at most `limit` rows go at once.
    `tries` is how often the rows it is at were held by an exception named in `retry_on=`: it rests (`rest_us`) after each.
    `watched` and `watched_dead` count towards the share of dead rows, of which fewer are borne `is_on_trial`.
    """

    stream: str
    shard: int
    topic: str
    code: str
    n: int = 0
    offset: int | None = None
    watermark_us: int | None = None
    deaths: int = 0
    why: str = ""
    is_stopped: bool = False
    tries: int = 0
    suspect_end: int | None = None
    limit: int = 0
    watched: int = 0
    watched_dead: int = 0
    is_on_trial: bool = False
    models: tuple[tuple[str, int, str], ...] = ()  # (model, version, problem) as reported

    @property
    def log(self) -> str:
        return shard_log(self.stream, self.shard)


@dataclass(frozen=True, slots=True)
class Step:
    """What a shard is once `facts` are committed; `bodies` are the bytes of its output, by index into `facts`."""

    shard: Shard
    facts: tuple[Fact, ...] = ()
    bodies: Mapping[int, bytes] = field(default_factory=dict[int, bytes])


def shard_log(stream: str, shard: int) -> str:
    """The log of a shard, which is its fence.

    >>> shard_log("score", 2)
    'shard:score:2'
    """
    return f"shard:{stream}:{shard}"


def taken(shard: Shard, hand: Hand | None, at_us: int) -> Step:
    """A new owner begins. `hand` is what its predecessor held in user code when it died, None where nothing.

    The first death at an offset may be bad luck and the same rows go again; from the second on they are cut down. Why
    it stood still before remains until it gets on (`ran`, `started`, `gone_on`). One that had stopped is on trial.
    """
    if shard.is_stopped:
        shard = replace(shard, is_stopped=False, is_on_trial=True)
    if hand is None or hand.first != shard.offset:
        return Step(_still_cut(shard))
    deaths = max(shard.deaths + 1, 2 if hand.is_suspect else 1)
    size = hand.end - hand.first
    limit = size if deaths < 2 else max(1, size // CUT_AFTER_DEATH) if size > 1 else 0
    facts = (ShardDied(shard.stream, shard.shard, hand.first, deaths, at_us),)
    return Step(replace(shard, deaths=deaths, suspect_end=hand.end, limit=limit), facts)


def _still_cut(shard: Shard) -> Shard:
    """The last owner died before it came to the rows that had killed others: how many deaths there were says how far
    they are cut by now."""
    if shard.offset is None or shard.deaths < 2:
        return shard
    limit = max(1, CUT_FROM_ROWS // CUT_AFTER_DEATH ** (shard.deaths - 1))
    is_alone = shard.deaths >= ALONE_AFTER_DEATHS
    return replace(shard, suspect_end=shard.offset + limit, limit=0 if is_alone else limit)


def waiting(shard: Shard, why: str, at_us: int) -> Step:
    """It cannot start yet; said once per reason."""
    if shard.why == why:
        return Step(shard)
    return Step(replace(shard, why=why), (ShardHeld(shard.stream, shard.shard, why, at_us),))


def started(shard: Shard, offset: int, why: str, at_us: int) -> Step:
    """Everything that it binds exists: from here on it reads."""
    fact = ShardStarted(shard.stream, shard.shard, offset, at_us, why)
    return Step(replace(shard, offset=offset, why=""), (fact,))


def plan(shard: Shard, head: int, rows: int) -> Plan | None:
    """The next batch of at most `rows`, or None where nothing is to read or the shard is stopped."""
    if shard.offset is None or shard.offset >= head or shard.is_stopped:
        return None
    first = shard.offset
    if shard.suspect_end is not None and first < shard.suspect_end:
        size = max(1, min(shard.limit, shard.suspect_end - first))
        return Plan(shard.n, first, min(first + size, head), is_given_up=shard.limit == 0)
    return Plan(shard.n, first, min(first + rows, head))


def ran(shard: Shard, done: Plan, outcome: Outcome, watermark_us: int | None, at_us: int) -> Step:
    """The batch has a result: its record, its output and its dead letters belong to one transaction.

    `watermark_us` is how far its input is complete once it is read. Raises `ValueError` where rows are not accounted
    for (T10).
    """
    if done.rows != outcome.rows_out + outcome.filtered + len(outcome.dead):
        raise ValueError(
            f"{done.rows} rows in, {outcome.rows_out} out, {outcome.filtered} filtered, {outcome.dead} dead"
        )
    watermark_us = _later(shard.watermark_us, watermark_us)
    record = BatchCommitted(
        stream=shard.stream,
        shard=shard.shard,
        n=done.n,
        first=done.first,
        end=done.end,
        rows_in=done.rows,
        rows_out=outcome.rows_out,
        filtered=outcome.filtered,
        dead=len(outcome.dead),
        code=shard.code,
        at_us=at_us,
        watermark_us=watermark_us,
        bound=outcome.bound,
        sides=dict(outcome.sides),
    )
    letters = tuple(_letter(shard, done, dead, at_us) for dead in outcome.dead)
    shape = () if outcome.shape is None else (outcome.shape,)
    facts: tuple[Fact, ...] = (record, *(fact for fact, _ in outcome.output), *letters, *shape)
    bodies = {1 + at: body for at, (_, body) in enumerate(outcome.output)}
    after = replace(
        _past_suspects(shard, done, bool(outcome.dead)),
        n=done.n + 1,
        offset=done.end,
        watermark_us=watermark_us,
        deaths=0,
        why="",
        tries=0,
    )
    after, too_many = _watch(after, done.rows, len(outcome.dead))
    if too_many is None:
        return Step(after, facts, bodies)
    held = stopped(after, too_many, at_us)
    return Step(held.shard, facts + held.facts, bodies)


def raised(shard: Shard, done: Plan, dead: Dead, watermark_us: int | None, at_us: int) -> Step:
    """User code raised over the batch: a single row is a dead letter, more are cut in half and go again."""
    if done.rows == 1:
        return ran(shard, done, Outcome(0, 0, (dead,)), watermark_us, at_us)
    return Step(replace(shard, suspect_end=done.end, limit=(done.rows + 1) // 2))


def retrying(shard: Shard, why: str, at_us: int) -> Step:
    """An exception named in `retry_on=`: the shard waits, longer each time, and no row dies of it."""
    after = replace(shard, why=why, tries=shard.tries + 1)
    return Step(after, (ShardHeld(shard.stream, shard.shard, why, at_us, until_us=at_us + rest_us(after)),))


def rest_us(shard: Shard) -> int:
    """How long a shard that is held rests before it tries again."""
    return BACKOFF_US[min(shard.tries, len(BACKOFF_US)) - 1]


def gone_on(shard: Shard, at_us: int) -> Step:
    """What held its last owner does not hold this one: it has come to the end of what there is to read."""
    return Step(replace(shard, why=""), (ShardHeld(shard.stream, shard.shard, "", at_us),))


def stopped(shard: Shard, why: str, at_us: int) -> Step:
    """The shard does not go on until somebody has changed the code or started it again."""
    fact = ShardHeld(shard.stream, shard.shard, why, at_us, stopped=True)
    return Step(replace(shard, why=why, is_stopped=True), (fact,))


def progressed(shard: Shard, watermark_us: int | None, at_us: int) -> Step:
    """Event time is complete further on, without a row. A watermark never falls."""
    later = _later(shard.watermark_us, watermark_us)
    if later is None or later == shard.watermark_us or shard.offset is None:
        return Step(shard)
    return Step(replace(shard, watermark_us=later), (ProgressMade(shard.stream, shard.shard, later, at_us),))


def held(shard: Shard, model: str, version: int, problem: str, at_us: int) -> Step:
    """From the next batch on the shard scores with this version; with a `problem` a newer one could not be loaded."""
    now = (model, version, problem)
    if now in shard.models:
        return Step(shard)
    others = tuple(known for known in shard.models if known[0] != model)
    fact = ModelHeld(shard.stream, shard.shard, model, version, shard.n, at_us, problem)
    return Step(replace(shard, models=(*others, now)), (fact,))


def _past_suspects(shard: Shard, done: Plan, found: bool) -> Shard:
    """After a piece of a suspect batch: the culprit is found, or lies in what is left of it."""
    if shard.suspect_end is None:
        return shard
    left = shard.suspect_end - done.end
    if found or left <= 0:
        return replace(shard, suspect_end=None, limit=0)
    return replace(shard, limit=max(1, min(shard.limit, (left + 1) // 2)))


def _watch(shard: Shard, rows: int, dead: int) -> tuple[Shard, str | None]:
    rows, dead = shard.watched + rows, shard.watched_dead + dead
    if shard.is_on_trial and dead >= TRIAL_DEAD:
        why = f"{dead} of the first {rows} rows since it had stopped are dead letters: mend the function or its input"
        return replace(shard, watched=0, watched_dead=0), why
    if dead > DEAD_SHARE * max(rows, WATCHED_ROWS):
        why = f"{dead} of {rows} rows are dead letters, more than {DEAD_SHARE:.0%}: mend the function or its input"
        return replace(shard, watched=0, watched_dead=0), why
    if rows >= WATCHED_ROWS:
        return replace(shard, watched=0, watched_dead=0, is_on_trial=False), None
    return replace(shard, watched=rows, watched_dead=dead), None


def _letter(shard: Shard, done: Plan, dead: Dead, at_us: int) -> DeadLettered:
    return DeadLettered(
        stream=shard.stream,
        shard=shard.shard,
        n=done.n,
        topic=shard.topic,
        partition=shard.shard,
        offset=dead.offset,
        reason=dead.reason,
        error=dead.error,
        payload=dead.payload,
        code=shard.code,
        at_us=at_us,
    )


def _later(known_us: int | None, us: int | None) -> int | None:
    if known_us is None or us is None:
        return known_us if us is None else us
    return max(known_us, us)
