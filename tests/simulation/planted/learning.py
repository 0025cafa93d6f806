"""Models: champions, trainings, and the streaks that ask for them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.drift.policy import Streak
from headrace.models import controller
from headrace.models.facts import AliasMoved, RetrainAsked
from headrace.runs import monitoring
from headrace.runs.monitoring import MonitorDesk
from headrace.runs.training import ModelDesk
from headrace.store.sql.projector import models
from planted.registry import plant


@plant("retraining")
def the_old_champion_stays(patch: pytest.MonkeyPatch) -> None:
    crown = models._crown

    def two(work: Any, group: Any, fact: AliasMoved) -> None:
        crown(work, group, msgspec.structs.replace(fact, previous=0))

    patch.setattr(models, "_crown", two)


@plant("retraining")
def two_trainings_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(controller, "_busy", lambda state: None)


@plant("retraining")
def a_streak_goes_on_after_it_has_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Streak, "cleared", lambda self: self)
    advance = monitoring.advance

    def endless(streak: Streak, **about: Any) -> tuple[Streak, bool]:
        after, asks = advance(streak, **about)
        return (msgspec.structs.replace(after, crossings=streak.crossings + 1) if asks else after), asks

    patch.setattr(monitoring, "advance", endless)


@plant("retraining")
def a_restart_forgets_the_streaks(patch: pytest.MonkeyPatch) -> None:
    create = MonitorDesk.__init__

    def forgetful(self: Any) -> None:
        create(self)
        self.__class__ = _Forgetful

    class _Forgetful(MonitorDesk):
        @property
        def streaks(self) -> dict[str, Streak]:
            return self.__dict__.setdefault("kept", {})

        @streaks.setter
        def streaks(self, value: dict[str, Streak]) -> None:
            self.__dict__["kept"] = {}

    patch.setattr(MonitorDesk, "__init__", forgetful)


@plant("retraining")
def an_accepted_ask_starts_no_run(patch: pytest.MonkeyPatch) -> None:
    asked = ModelDesk.asked

    def idle(self: Any, *about: Any, **options: Any) -> Any:
        return (x for x in asked(self, *about, **options) if isinstance(x, RetrainAsked))

    patch.setattr(ModelDesk, "asked", idle)


@plant("retraining")
def a_training_that_failed_is_waited_for_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ModelDesk, "on_run_ended", lambda self, office, definition, ended: iter(()))
