"""The player of the recorded year: a step is appended once, and by the newest player alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from headrace.definitions.project import Project, TopicDef
from headrace.demo import player
from headrace.demo.player import Player
from headrace.demo.record import EVENT_TIMES
from headrace.errors import SupersededError
from headrace.store.sql.engine_store import EngineSqlStore


@pytest.fixture
def store() -> Iterator[EngineSqlStore]:
    opened = EngineSqlStore(":memory:")
    yield opened
    opened.close()


def test_a_step_is_appended_once_and_an_older_player_is_fenced(
    store: EngineSqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty: Any = SimpleNamespace(**dict.fromkeys(EVENT_TIMES, pl.DataFrame()))
    monkeypatch.setattr(player, "step", lambda record, since, until: empty)
    monkeypatch.setattr(player, "prepare", lambda topic, frame, now_us: [])
    project, record = Project("p", topics={name: TopicDef(name) for name in EVENT_TIMES}), SimpleNamespace()
    old = Player(store, project, record, tmp_path / "bell")  # pyright: ignore[reportArgumentType]
    assert old.append_next() == old.steps[0]
    new = Player(store, project, record, tmp_path / "bell")  # pyright: ignore[reportArgumentType]
    assert new.done == 1
    assert new.append_next() == new.steps[1]
    with pytest.raises(SupersededError):
        old.append_next()
    assert new.done == 2
