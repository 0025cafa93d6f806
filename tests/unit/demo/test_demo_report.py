"""The report shows what the story says, marks every retraining, and needs nothing from outside."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from xml.dom import minidom

import pytest
from rich.console import Console

from headrace.demo import report
from headrace.demo.pictures import PALETTE, quality_figure
from headrace.demo.story import Ask, Counts, Story, Week


@pytest.fixture(scope="module")
def story() -> Story:
    weeks = tuple(
        Week(date(2013, 3, 1) + timedelta(days=7 * n), 6_500, 0.62, 0.69, 0.7 + 0.02 * math.sin(n), n / 50, 3.0)
        for n in range(12)
    )
    asks = (
        Ask(date(2013, 4, 21), "drift", 0.680, 0.697, "promoted"),
        Ask(date(2013, 5, 5), "performance", 0.718, 0.705, "rejected"),
    )
    lineage = (("prediction", "2013-04-30-UA-1-EWR <late>"), ("model", "delay, version 2"))
    return Story(weeks, asks, 0.648, 0.694, 0.732, Counts(284_821, 61, 1_432, 3, 12), lineage, 96.4, "b3f1c09e")


@pytest.fixture(scope="module")
def page(story: Story) -> str:
    return report.page(story)


def test_the_page_tells_the_whole_story(page: str) -> None:
    for text in ("0.648", "0.694", "0.732", "284,821", "1,432", "2 retrainings asked, 1 promoted, 1 rejected"):
        assert text in page
    for text in ("April 21", "unseen temperatures", "delay, version 2", "b3f1c09e", "12 of 12 weeks", "0.741"):
        assert text in page


def test_text_from_outside_is_escaped(page: str) -> None:
    assert "EWR &lt;late&gt;" in page
    assert "<late>" not in page


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    assert re.findall(r"<(?:script|link|img|iframe|object)\b|@import|url\((?!#)", page) == []
    assert {link for link in re.findall(r"https?://[^\"\s<]+", page) if "www.w3.org" not in link} == set()


def test_pictures_are_well_formed_and_take_their_colours_from_the_page(page: str) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) == 2
    names = [set(re.findall(r'\bid="([^"]+)"', picture)) for picture in pictures]
    assert names[0].isdisjoint(names[1])
    for picture, known in zip(pictures, names, strict=True):
        minidom.parseString(picture)
        assert {a or b for a, b in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', picture)} <= known
        assert "var(--served)" in picture
        assert not any(colour in picture for colour in PALETTE.values())


def test_every_retraining_is_marked_in_the_picture(story: Story) -> None:
    def marks(told: Story) -> int:
        return sum(line.get_marker() in ("o", "X") for line in quality_figure(told).axes[0].lines)

    assert marks(story) - marks(replace(story, asks=())) == 2


def test_the_same_story_gives_the_same_page(story: Story, page: str) -> None:
    assert report.page(story) == page


def test_the_file_is_the_page(story: Story, page: str, tmp_path: Path) -> None:
    report.write_report(story, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_the_terminal_shows_curves_retrainings_and_lineage(story: Story) -> None:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(report.terminal(story))
    text = captured.get()
    for part in ("0.732", "May 5", "rejected", "2013-04-30-UA-1-EWR <late>", "1,432 batches", "22 trainings"):
        assert part in text
    assert "Digest of all predictions: b3f1c09e" in text
