"""The rounds of a stream process: what it does when its store does not keep up or refuses."""

from __future__ import annotations

from typing import Any, cast

import pytest

from headrace.errors import DisagreementError, StoreError
from headrace.shards import process
from headrace.shards.process import PAUSE_AFTER_ERROR_S, run


class Rounds:
    """A runner and its waker: each round does the next thing that is asked of it."""

    patience_s = 0.5

    def __init__(self, *rounds: str | Exception) -> None:
        self.left = list(rounds)
        self.done: list[str] = []

    @property
    def is_store_behind(self) -> bool:
        return self.left[0] == "behind"

    def tick(self) -> bool:
        found = self.left.pop(0)
        if isinstance(found, Exception):
            raise found
        self.done.append(found)
        return found == "busy"

    def wait(self, seconds: float) -> None:
        self.done.append(f"waits {seconds:g}")
        if self.left and self.left[0] == "behind":
            self.left.pop(0)

    def run(self) -> list[str]:
        run(cast("Any", self), cast("Any", self), lambda: not self.left)
        return self.done


def test_no_round_is_made_while_a_reader_holds_the_write_ahead_log_back() -> None:
    assert Rounds("behind", "idle").run() == [f"waits {PAUSE_AFTER_ERROR_S:g}", "idle", "waits 0.5"]


def test_a_store_that_refuses_is_tried_again_and_one_that_disagrees_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(process.time, "sleep", pauses.append)
    assert Rounds(StoreError("the disk is full"), "idle").run() == ["idle", "waits 0.5"]
    assert pauses == [PAUSE_AFTER_ERROR_S]
    assert "the disk is full" in capsys.readouterr().err
    with pytest.raises(DisagreementError):
        Rounds(DisagreementError("no"), "idle").run()
