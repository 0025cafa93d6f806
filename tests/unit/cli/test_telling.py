"""Whoever cannot be told of something does not end what goes on."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout

import pytest

from headrace.cli.dev import _Lines  # pyright: ignore[reportPrivateUsage]
from headrace.cli.news import line_of
from headrace.cli.telling import Telling
from headrace.cli.words import local, span
from headrace.runs import facts as f

YEAR_10000 = 253_402_300_800_000_000
ENDED = f.RunEnded("18k0deg00007", "succeeded", at_us=0)


class Disk(io.StringIO):
    """Output to a disk that fills."""

    is_full = False

    def write(self, text: str, /) -> int:
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().write(text)


@pytest.mark.parametrize("as_json", [False, True])
def test_an_engine_goes_on_while_its_lines_cannot_be_printed_and_says_so_once(as_json: bool) -> None:
    disk = Disk()
    with redirect_stdout(disk):
        lines = _Lines(as_json=as_json)
        disk.is_full = True
        lines.facts([ENDED, ENDED])
        lines.notice("the disk is full")
        disk.is_full = False
        lines.notice("there is room again")
        lines.notice("all is well")
    shown = disk.getvalue().splitlines()
    assert [("room" in line, "well" in line) for line in shown] == [(True, False), (False, False), (False, True)]
    assert (
        "lines before this one could not be printed in time (OSError: [Errno 28] No space left on device)" in shown[1]
    )
    assert not as_json or "notice" in json.loads(shown[1])


def test_a_line_that_has_no_words_costs_itself_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def words(fact: object) -> tuple[str, str]:
        if fact is not ENDED:
            raise OverflowError("date value out of range")
        return "run ended", ""

    monkeypatch.setattr("headrace.cli.dev.line_of", words)
    printed = io.StringIO()
    with redirect_stdout(printed):
        _Lines(as_json=False).facts([f.RunEnded("other", "failed", at_us=0), ENDED])
    assert "run ended" in printed.getvalue()
    assert "1 line before this one could not be printed in time (OverflowError" in printed.getvalue()


def test_what_ends_a_process_still_ends_it() -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Telling(print).tell(interrupted, None)


def test_a_run_about_the_time_after_9999_is_told_of() -> None:
    fact = f.RunCreated("18k0deg00007", "daily", "event", "engine", "here", 0, window=(YEAR_10000, YEAR_10000 + 1))
    line = line_of(fact)
    assert line is not None
    assert "for +10000-01-01T00:00Z +10000-01-01T00:00:00.000001Z" in line[0]


def test_times_beyond_the_calendar_are_shown_in_utc() -> None:
    assert local(YEAR_10000) == "+10000-01-01T00:00Z"
    assert span((0, YEAR_10000)) == "all until +10000-01-01T00:00Z"
