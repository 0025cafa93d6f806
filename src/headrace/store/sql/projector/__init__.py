"""The projector: for each kind of fact its row change, one module per aggregate. No clock, no randomness, no reads of
what is not a row: the same facts always make the same rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.base.facts import Fact
from headrace.store.sql.projector import (
    inbox,
    items,
    models,
    project,
    retention,
    runs,
    schedules,
    streams,
    tables,
    topics,
)
from headrace.store.sql.projector.work import Group, Work

CHANGES: dict[type[Fact], Callable[[Work, Group[Any]], None]] = {
    **project.CHANGES,
    **runs.CHANGES,
    **items.CHANGES,
    **retention.CHANGES,
    **schedules.CHANGES,
    **inbox.CHANGES,
    **tables.CHANGES,
    **topics.CHANGES,
    **streams.CHANGES,
    **models.CHANGES,
}
