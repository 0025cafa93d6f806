"""The doorbell: rings are heard, may be lost, and never raise."""

from __future__ import annotations

import select
from pathlib import Path

import pytest

from headrace.errors import EngineUnavailableError
from headrace.host.doorbell import Doorbell, doorbell_path, ring


def is_ringing(bell: Doorbell) -> bool:
    return bool(select.select([bell], [], [], 0)[0])


def test_a_ring_is_heard_until_it_is_drained(tmp_path: Path) -> None:
    bell = Doorbell(tmp_path / "bell")
    assert not is_ringing(bell)
    assert ring(bell.path)
    assert ring(bell.path)
    assert is_ringing(bell)
    bell.drain()
    assert not is_ringing(bell)
    bell.close()
    assert not bell.path.exists()


def test_nobody_at_home_is_no_error(tmp_path: Path) -> None:
    assert not ring(tmp_path / "bell")


def test_a_bell_full_of_rings_rings(tmp_path: Path) -> None:
    bell = Doorbell(tmp_path / "bell")
    assert all(ring(bell.path) for _ in range(2_000))
    bell.drain()
    assert not is_ringing(bell)
    bell.close()


def test_what_a_killed_engine_left_is_replaced_and_anything_else_is_named(tmp_path: Path) -> None:
    dead = Doorbell(tmp_path / "bell")
    alive = Doorbell(tmp_path / "bell")
    assert ring(alive.path)
    assert is_ringing(alive)
    alive.close()
    dead.close()
    (tmp_path / "bell").mkdir()
    with pytest.raises(EngineUnavailableError, match="cannot listen") as caught:
        Doorbell(tmp_path / "bell")
    assert caught.value.code == "HR5012"


def test_each_project_has_its_own_short_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    deep = tmp_path / ("deep/" * 30)
    assert doorbell_path(deep) != doorbell_path(tmp_path)
    assert doorbell_path(deep) == doorbell_path(deep / "." / "x" / "..")
    assert len(str(doorbell_path(deep))) < 107
