"""Every kind of fact that a store can hold, by name, and how older versions of them are lifted."""

from __future__ import annotations

from headrace.base import facts as base
from headrace.base.facts import Fact, Upcast
from headrace.data import facts as data
from headrace.models import facts as models
from headrace.runs import facts as runs
from headrace.streams import facts as streams

KINDS: dict[str, type[Fact]] = {
    shape.__name__: shape
    for shape in (
        runs.LogTaken,
        runs.CodeDeployed,
        runs.RunCreated,
        runs.RunReady,
        runs.MapExpanded,
        runs.AttemptStarted,
        runs.AttemptSucceeded,
        runs.AttemptFailed,
        runs.AttemptLost,
        runs.AttemptReturned,
        runs.AttemptCancelled,
        runs.ItemSkipped,
        runs.NodeSkipped,
        runs.InputPinned,
        runs.RunCancelled,
        runs.RunRetried,
        runs.RunEnded,
        runs.DetailsDropped,
        runs.FilesDropped,
        runs.SlotsSkipped,
        runs.SlotsReopened,
        runs.TriggerSuppressed,
        runs.PipelinePaused,
        runs.CursorMoved,
        runs.RequestAnswered,
        runs.EventRejected,
        data.TablePublished,
        data.TopicShaped,
        data.TopicAppended,
        data.TopicCompleted,
        data.PlaybackAdvanced,
        streams.BatchCommitted,
        streams.ProgressMade,
        streams.ShardStarted,
        streams.ShardDied,
        streams.ShardHeld,
        streams.ModelHeld,
        streams.DeadLettered,
        streams.TriggerFired,
        streams.TriggerProgressed,
        streams.TriggerHeld,
        models.VersionRegistered,
        models.AliasMoved,
        models.VersionRejected,
        models.RetrainAsked,
        models.ControllerMoved,
        models.WindowJudged,
        models.StreakMoved,
    )
}

DETAILS = tuple(name for name, shape in KINDS.items() if not shape.lasting and shape.__struct_fields__[:1] == ("run",))
"""Kinds that are dropped with the details of their run, whose id is the first element of their bodies."""

UPCASTS: dict[tuple[str, int], Upcast] = {}
"""(kind, version) → the body one version later. Empty while every kind is at its first version."""


def read(kind: str, version: int, body: bytes) -> Fact:
    """A stored fact as today's class. Raises StoreError (HR4010) where a newer Headrace wrote it."""
    return base.decode(kind, version, body, KINDS, UPCASTS)
