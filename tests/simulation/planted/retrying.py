"""Runs that go again: what stays forgiven, and what may be made of it."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.runs import asking, progress
from headrace.runs.group import Group
from headrace.runs.verdict import Verdicts
from planted.registry import plant


@plant("execution")
def a_retry_forgets_what_was_forgiven(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(asking, "_forgives", lambda event: {})


@plant("execution")
def a_retry_forgives_one_more_than_may_fail(patch: pytest.MonkeyPatch) -> None:
    forgives = asking._forgives
    patch.setattr(asking, "_forgives", lambda event: {name: n + 1 for name, n in forgives(event).items()})


@plant("execution")
def a_list_is_given_while_a_retry_can_still_add_to_it(patch: pytest.MonkeyPatch) -> None:
    """What is missing because something before it failed counts as final, as if that had been forgiven."""
    patch.setattr(Verdicts, "_before", lambda self, need, where: iter(()))


@plant("execution")
def a_failure_that_is_forgiven_keeps_from_running_what_comes_after(patch: pytest.MonkeyPatch) -> None:
    fail = progress.Progress._fail

    def strict(self: Any, group: Group, item: int) -> None:
        fail(self, group, item)
        group.beyond = group.failed

    patch.setattr(progress.Progress, "_fail", strict)


@plant("execution")
def after_a_retry_what_was_forgiven_keeps_from_running_what_comes_after(patch: pytest.MonkeyPatch) -> None:
    restored = progress.Progress.restored

    def strict(self: Any, node: str, path: Any, item: int, row: Any) -> None:
        if row.state == "failed":
            self.groups[node, path].beyond += 1
        restored(self, node, path, item, row)

    patch.setattr(progress.Progress, "restored", strict)
