"""What is forgotten: only details, only of runs that have ended, and first the rows, then the files."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.engine.retention import Retention
from headrace.runs import facts as f
from headrace.runs.events import DetailsOld
from headrace.runs.rows import RUN_LOGS, LeftFiles
from headrace.store.sql.engine_store import EngineSqlStore
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


@plant("retention")
def a_run_from_a_process_of_its_own_holds_up_what_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    look = Retention.look

    def stuck(self: Retention, *, is_idle: bool) -> Any:
        found = look(self, is_idle=is_idle)
        is_old = isinstance(found, DetailsOld) and any(gone.log.startswith(RUN_LOGS) for gone in found.gone)
        return None if is_old else found

    patch.setattr(Retention, "look", stuck)


@plant("retention")
def files_that_do_not_go_at_once_stay_for_ever(patch: pytest.MonkeyPatch) -> None:
    tried: set[str] = set()
    left_files = EngineSqlStore.left_files

    def once(self: EngineSqlStore, limit: int) -> list[LeftFiles]:
        found = [left for left in left_files(self, limit) if left.run not in tried]
        tried.update(left.run for left in found)
        return found

    patch.setattr(EngineSqlStore, "left_files", once)
