"""One line for each thing that happens in an engine, for `headrace dev`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headrace.base.facts import Fact
from headrace.cli.words import count, length, local, span
from headrace.data.facts import TablePublished
from headrace.models.facts import AliasMoved, RetrainAsked, VersionRegistered, VersionRejected, WindowJudged
from headrace.runs import facts as f
from headrace.runs.reasons import evidence_in_words
from headrace.streams.facts import DeadLettered, ShardHeld


def line_of(fact: Fact) -> tuple[str, str] | None:
    """The line and its style; None for what a person does not want to read as it happens.

    >>> line_of(f.RunEnded("18k0deg00007", "succeeded", at_us=0))
    ('run 18k0deg00007 succeeded', 'succeeded')
    """
    match fact:
        case f.RunCreated():
            about = f" for {span(fact.window)}" if fact.window else ""
            why = f" ({evidence_in_words(fact.why)})" if fact.why else ""
            return f"run {fact.run} of {fact.pipeline} by {fact.cause}{about}{why}", ""
        case f.RunReady() if fact.missing:
            return f"run {fact.run} waits no longer for {', '.join(fact.missing)}: ready_within is over", "warn"
        case f.RunEnded():
            return f"run {fact.run} {fact.state}{': ' + fact.why if fact.why else ''}", fact.state
        case f.AttemptFailed():
            again = "" if fact.retry_at_us is None else f"; again in {length(fact.retry_at_us - fact.at_us)}"
            return f"run {fact.run} {fact.node} failed (attempt {fact.attempt}): {fact.error}{again}", "failed"
        case f.AttemptLost():
            return f"run {fact.run} {fact.node} lost (attempt {fact.attempt}): {fact.why}", "lost"
        case f.RunCancelled():
            return f"run {fact.run} is cancelled by {fact.by}", "warn"
        case f.RunRetried():
            return f"run {fact.run} goes again, asked by {fact.by}", ""
        case f.DetailsDropped():
            return (
                f"the details of {count(len(fact.runs), 'run')} that ended before {local(fact.before_us)} are dropped",
                "",
            )
        case f.PipelinePaused():
            return f"{fact.pipeline} is {'paused' if fact.is_paused else 'active'}, asked by {fact.by}", "warn"
        case f.TriggerSuppressed():
            return f"{fact.pipeline} is not started: {fact.why}", "warn"
        case f.SlotsSkipped() if fact.count:
            if fact.because == "asked":
                return f"{fact.pipeline} asks the model's controller", ""
            return f"{fact.pipeline} skips slots: {fact.why}", "warn"
        case f.RequestAnswered() if fact.status != "done":
            told = fact.answer if isinstance(fact.answer, dict) else {}
            why = f"{told.get('code', '')} {str(told.get('message', '')).partition(chr(10))[0]}".strip()
            return f"request {fact.request} is refused: {why}", "warn"
        case f.EventRejected():
            return f"an event was rejected: {fact.error}", "failed"
        case _:
            return _of_data(fact)


def still_waiting(facts: Sequence[Fact]) -> Iterator[str]:
    """A line for each run of one commit that has begun to wait for its topics."""
    ready = {fact.run for fact in facts if isinstance(fact, f.RunReady)}
    for fact in facts:
        if isinstance(fact, f.RunCreated) and fact.waits and fact.run not in ready:
            yield f"run {fact.run} waits for {', '.join(fact.waits)}: headrace why {fact.run}"


def _of_data(fact: Fact) -> tuple[str, str] | None:
    match fact:
        case TablePublished(parts=(*_, last)) if fact.replaced and last.window is not None:
            of = f"run{'s' if len(fact.replaced) > 1 else ''} {', '.join(fact.replaced)}"
            return f"{fact.table}: version {fact.version_number} of run {fact.run} replaces the rows of {of}", "warn"
        case VersionRegistered():
            return f"{fact.model} version {fact.version_number} is registered by run {fact.run}", ""
        case AliasMoved():
            return f"{fact.model}: version {fact.version_number} is the {fact.alias} ({fact.why})", "succeeded"
        case VersionRejected():
            return f"{fact.model}: version {fact.version_number} is rejected ({fact.why})", "warn"
        case RetrainAsked():
            answer = "" if fact.accepted else f": {fact.why}"
            return f"{fact.model}: {fact.by} asks for a training{answer}", "" if fact.accepted else "warn"
        case WindowJudged():
            over = [limit for limit, is_over in fact.crossed.items() if is_over]
            verdict = f"crossed {' and '.join(over)}" if over else "within limits" if fact.judged else "not judged"
            why = f" ({fact.why})" if fact.why else ""
            return f"{fact.monitor}: {span(fact.window)} {verdict}, {count(fact.n, 'row')}{why}", "warn" if over else ""
        case ShardHeld():
            if fact.goes_on:
                return f"stream {fact.stream}/{fact.shard} goes on", ""
            state = "stopped" if fact.stopped else "held"
            return f"stream {fact.stream}/{fact.shard} is {state}: {fact.why}", state
        case DeadLettered():
            return f"stream {fact.stream}: {fact.topic}/{fact.partition}/{fact.offset} is dead: {fact.error}", "warn"
        case _:
            return None
