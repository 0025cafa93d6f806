"""When the engine forgets: at once after a start, then hourly; batch after batch while it rests, seldom while it works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from headrace.base.durations import micros
from headrace.engine.retention import Retention
from headrace.errors import StoreError
from headrace.runs.events import DetailsOld, FilesGone
from headrace.runs.rows import LeftFiles, OldDetails
from headrace.testing.clock import FakeClock

KEPT = "90d"


@dataclass
class Rows:
    """A store with so many batches of old runs."""

    batches: int = 0
    left: list[LeftFiles] = field(default_factory=list[LeftFiles])
    asked: list[int] = field(default_factory=list[int])
    oldest_us: int | None = None
    refuses: bool = False

    def old_details(self, before_us: int, limit: int) -> OldDetails | None:
        self.asked.append(before_us)
        if self.refuses:
            raise StoreError("the disk refused", code="HR4080")
        self.batches -= 1
        return OldDetails((f"r{self.batches}",), ()) if self.batches >= 0 else None

    def left_files(self, limit: int) -> list[LeftFiles]:
        return self.left

    def oldest_details_us(self) -> int | None:
        return self.oldest_us


@dataclass
class Files:
    is_backed_up: bool = False
    dropped: list[str] = field(default_factory=list[str])
    logs_before: list[int] = field(default_factory=list[int])

    def drop(self, runs: Sequence[LeftFiles]) -> bool:
        self.dropped += [] if self.is_backed_up else [one.run for one in runs]
        return not self.is_backed_up

    def drop_logs(self, before_us: int) -> None:
        self.logs_before.append(before_us)


class Rig:
    def __init__(self, **rows: Any) -> None:
        self.rows, self.files, self.clock = Rows(**rows), Files(), FakeClock()
        self.retention = Retention(cast("Any", self.rows), self.files, self.clock, micros(KEPT))

    def look(self, *, is_idle: bool = True) -> Any:
        found = self.retention.look(is_idle=is_idle)
        if found is not None:
            self.retention.committed()
        return found


def test_what_is_older_than_the_limit_is_asked_for_at_the_start() -> None:
    rig = Rig(batches=1)
    found = rig.look()
    assert isinstance(found, DetailsOld)
    assert rig.clock.now_us() - found.before_us == micros(KEPT)


def test_an_engine_at_rest_goes_on_until_nothing_is_left_and_then_looks_hourly() -> None:
    rig = Rig(batches=3)
    assert [type(rig.look()) for _ in range(5)] == [DetailsOld] * 3 + [type(None)] * 2
    assert len(rig.rows.asked) == 4, "once nothing was found it is not asked again"
    rig.clock.advance("59m")
    rig.look()
    assert len(rig.rows.asked) == 4
    rig.clock.advance("1m")
    rig.look()
    assert len(rig.rows.asked) == 5


def test_an_engine_that_never_rests_forgets_a_batch_each_ten_seconds() -> None:
    rig = Rig(batches=3)
    assert rig.look(is_idle=False) is not None
    assert rig.look(is_idle=False) is None
    rig.clock.advance("10s")
    assert rig.look(is_idle=False) is not None


def test_a_small_limit_is_looked_at_more_often() -> None:
    rig = Rig()
    rig.retention = Retention(cast("Any", rig.rows), rig.files, rig.clock, micros("20s"))
    rig.look()
    rig.clock.advance("2s")
    rig.look()
    assert len(rig.rows.asked) == 2


def test_files_of_rows_that_have_gone_come_first() -> None:
    rig = Rig(batches=1, left=[LeftFiles("r9", (), frozenset())])
    assert rig.look() == FilesGone(("r9",))
    assert rig.files.dropped == ["r9"]
    rig.rows.left = []
    assert isinstance(rig.look(), DetailsOld)


def test_files_wait_for_a_backup_and_rows_do_not() -> None:
    rig = Rig(batches=1, left=[LeftFiles("r9", (), frozenset())])
    rig.files.is_backed_up = True
    assert isinstance(rig.look(), DetailsOld)
    assert rig.files.dropped == []


@pytest.mark.parametrize(("oldest", "kept"), [("2025-01-01", "365d"), ("2026-01-01", "90d"), (None, "90d")])
def test_logs_go_once_they_are_older_than_every_run_with_details(oldest: str | None, kept: str) -> None:
    rig = Rig(oldest_us=None if oldest is None else FakeClock(oldest).now_us())
    rig.look()
    assert rig.files.logs_before == [rig.clock.now_us() - micros(kept)]


def test_a_store_that_refuses_is_asked_again_an_hour_later() -> None:
    rig = Rig(refuses=True)
    with pytest.raises(StoreError):
        rig.look()
    assert rig.look() is None
    rig.clock.advance("1h")
    with pytest.raises(StoreError):
        rig.look()


def test_what_came_to_nothing_is_not_tried_again_at_once() -> None:
    rig = Rig(batches=2)
    assert rig.retention.look(is_idle=True) is not None
    assert rig.retention.look(is_idle=True) is None, "nobody said that it was committed"
