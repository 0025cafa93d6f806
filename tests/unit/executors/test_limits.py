"""What a task does to the limits of its process ends with it."""

from __future__ import annotations

import resource

import pytest

from headrace.executors.limits import Limits


def test_a_limit_that_a_task_has_lowered_is_put_back() -> None:
    limits, (soft, hard) = Limits(), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    assert limits.restore()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_it_is_told_where_the_system_does_not_give_a_limit_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: int, limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    limits, (soft, hard) = Limits(), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        with monkeypatch.context() as patch:
            patch.setattr(resource, "setrlimit", refuse)
            assert not limits.restore()
    finally:
        assert limits.restore()


def test_limits_that_nobody_has_changed_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits()
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: pytest.fail("nothing was changed"))
    assert limits.restore()
