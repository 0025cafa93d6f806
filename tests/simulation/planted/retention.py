"""What is forgotten: only details, only of runs that have ended, and first the rows, then the files."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.engine.retention import Retention
from headrace.runs import facts as f
from headrace.store.sql.projector import CHANGES
from headrace.store.sql.reads import retention
from planted.registry import plant


@plant("retention")
def what_lies_between_the_facts_of_an_old_run_goes_too(patch: pytest.MonkeyPatch) -> None:
    """Details of runs that are at work, where an old one ended in the middle of them."""

    class Everybody:
        def __contains__(self, _: object) -> bool:
            return True

    details = retention.details
    patch.setattr(retention, "details", lambda rows, marks: details(rows, Everybody()))  # type: ignore[arg-type]


@plant("retention")
def the_key_of_an_old_run_is_free_again(patch: pytest.MonkeyPatch) -> None:
    drop = CHANGES[f.DetailsDropped]

    def forgetting(work: Any, group: Any) -> None:
        drop(work, group)
        for fact in group.facts:
            work.connection.executemany(
                "UPDATE runs SET key = key || ' of ' || run WHERE run = ?", [(run,) for run in fact.runs]
            )

    patch.setitem(CHANGES, f.DetailsDropped, forgetting)


@plant("retention")
def rows_of_topics_lose_the_attempt_that_they_are_traced_to(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(retention, "OUTPUT", ())


@plant("retention")
def files_count_as_gone_before_they_are(patch: pytest.MonkeyPatch) -> None:
    look = Retention.look

    def trusting(self: Retention, *, is_idle: bool) -> Any:
        patch.setattr(self.files, "drop", lambda runs: True)
        return look(self, is_idle=is_idle)

    patch.setattr(Retention, "look", trusting)
