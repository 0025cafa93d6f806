"""The two pictures of the report, drawn by matplotlib and returned as inline SVG that follows the page's colours."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, MonthLocator, date2num
from matplotlib.figure import Figure

from headrace.demo.story import Ask, Story

# One colour for one thing, in both pictures and on the page. Values are those of the light page; in the SVG each
# becomes the CSS variable of its name, so that the page decides.
PALETTE = {
    "ink": "#1c2430",
    "soft": "#6b7685",
    "line": "#dfe4ea",
    "paper": "#fefffe",
    "nightly": "#98a2ae",
    "first": "#3d7ea6",
    "served": "#d1570f",
    "good": "#2e8b57",
    "bad": "#b3261e",
}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "svg.fonttype": "path",
    "text.color": PALETTE["ink"],
    "axes.edgecolor": PALETTE["line"],
    "axes.labelcolor": PALETTE["soft"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": PALETTE["soft"],
    "ytick.color": PALETTE["soft"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": PALETTE["line"],
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def quality_figure(story: Story) -> Figure:
    """AUC by week of the three curves with every retraining marked; below, what retraining gained in each week."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(11, 6.4))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1), gridspec_kw={"hspace": 0.2})
        _curves(upper, story)
        _gains(lower, story)
        _months(lower, story)
        figure.subplots_adjust(left=0.055, right=0.83, top=0.955, bottom=0.05)
    return figure


def drift_figure(story: Story) -> Figure:
    """The share of temperatures that the champion never saw, by week, with PSI of the same weeks below it."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(11, 5))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1), gridspec_kw={"hspace": 0.3})
        _unseen(upper, story)
        _psi(lower, story)
        _months(lower, story)
        figure.subplots_adjust(left=0.055, right=0.83, top=0.94, bottom=0.065)
    return figure


def svg(figure: Figure, salt: str, label: str) -> str:
    """The figure as an SVG element whose colours are CSS variables; the same figure gives the same text.

    `salt` keeps the ids of several pictures on one page apart, `label` is read to those who cannot see it.
    """
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    for name, value in PALETTE.items():
        text = text.replace(value, f"var(--{name})")
    text = re.sub(r' width="[^"]+pt" height="[^"]+pt"| height="[^"]+pt"| width="[^"]+pt"', "", text, count=2)
    # Glyphs have the same id wherever they are drawn, other ids carry the salt.
    text = re.sub(r'(id="|href="#|url\(#)', rf"\1{salt}-", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def _curves(axes: Axes, story: Story) -> None:
    days = _middles(story)
    nightly = [week.auc_nightly for week in story.weeks]
    first = [week.auc_first for week in story.weeks]
    served = [week.auc_served for week in story.weeks]
    axes.plot(days, nightly, color=PALETTE["nightly"], linewidth=1.4)
    axes.plot(days, first, color=PALETTE["first"], linewidth=1.8)
    axes.plot(days, served, color=PALETTE["served"], linewidth=2.6, solid_capstyle="round")
    axes.fill_between(
        days, first, served, where=_above(served, first), color=PALETTE["served"], alpha=0.13, lw=0, interpolate=True
    )
    axes.axhline(story.limits.auc, color=PALETTE["soft"], linewidth=0.9, linestyle=(0, (4, 4)))
    bottom, top = min(nightly) - 0.015, max(served) + 0.055
    axes.set_ylim(bottom, top)
    _title(axes, "AUC of each week")
    _ask_marks(axes, story.asks, top - 0.012)
    ends = {
        "served": (served[-1], f"what served\n{story.auc_served:.3f} overall"),
        "first": (first[-1], f"first model,\nnever retrained {story.auc_first:.3f}"),
        "nightly": (nightly[-1], f"nightly batch\nfeatures {story.auc_nightly:.3f}"),
    }
    heights = _spread([height for height, _ in ends.values()], apart=(top - bottom) * 0.12)
    for (name, (_, text)), height in zip(ends.items(), heights, strict=True):
        _beside(axes, height, text, PALETTE[name], weight="bold" if name == "served" else "normal")
    _mark_names(axes, top - 0.012)
    _beside(axes, top - 0.037, "gain on 14 days\nthat neither model saw", PALETTE["soft"], size=8.5)


def _gains(axes: Axes, story: Story) -> None:
    gains = [week.auc_served - week.auc_first for week in story.weeks]
    colours = [PALETTE["served"] if gain >= 0 else PALETTE["nightly"] for gain in gains]
    axes.bar(_middles(story), gains, width=5.2, color=colours)
    axes.axhline(0, color=PALETTE["soft"], linewidth=0.8)
    for ask in story.asks:
        axes.axvline(_day(ask.on), color=_colour(ask), linewidth=0.9, alpha=0.45)
    _title(axes, "gained by retraining")
    better, worse = sum(gain > 0.001 for gain in gains), sum(gain < -0.001 for gain in gains)
    _beside(axes, max(gains) / 2, f"better in {better} weeks\nworse in {worse}", PALETTE["served"])


def _unseen(axes: Axes, story: Story) -> None:
    shares = [100 * week.unseen for week in story.weeks]
    limit = 100 * story.limits.unseen
    colours = [PALETTE["served"] if share > limit else PALETTE["nightly"] for share in shares]
    axes.bar(_middles(story), shares, width=5.2, color=colours)
    axes.axhline(limit, color=PALETTE["soft"], linewidth=0.9, linestyle=(0, (4, 4)))
    top = max(shares) * 1.2
    axes.set_ylim(0, top)
    _title(axes, "% of temperatures that the champion never saw")
    _ask_marks(axes, [ask for ask in story.asks if ask.by == "drift"], top * 0.92, gains=False)
    _beside(axes, limit, f"above {limit:.0f} % twice\nasks for retraining", PALETTE["served"])
    _mark_names(axes, top * 0.92)


def _psi(axes: Axes, story: Story) -> None:
    values = [week.psi for week in story.weeks]
    days = _middles(story)
    axes.plot(days, values, color=PALETTE["first"], linewidth=1.6, marker="o", markersize=3.2)
    axes.axhline(story.limits.psi, color=PALETTE["soft"], linewidth=0.9, linestyle=(0, (4, 4)))
    axes.set_ylim(-0.3, max(values) * 1.15)
    _title(axes, "PSI of the same temperatures")
    alarms = sum(value > story.limits.psi for value in values)
    _beside(axes, story.limits.psi, f"customary limit {story.limits.psi}", PALETTE["soft"])
    _beside(axes, values[-1], f"above it in {alarms} of\n{len(values)} weeks: not used", PALETTE["first"])


def _ask_marks(axes: Axes, asks: Sequence[Ask], height: float, *, gains: bool = True) -> None:
    for ask in asks:
        day, colour = _day(ask.on), _colour(ask)
        axes.axvline(day, color=colour, linewidth=0.9, alpha=0.45)
        if ask.outcome == "promoted":
            axes.plot([day], [height], marker="o", markersize=8, color=colour, markeredgecolor=PALETTE["paper"])
        else:
            axes.plot([day], [height], marker="X", markersize=8.5, color=colour, markeredgecolor=PALETTE["paper"])
        if gains:
            place: Mapping[str, Any] = {"xytext": (0, -11), "textcoords": "offset points", "ha": "center", "va": "top"}
            box = {"boxstyle": "round,pad=0.15", "facecolor": PALETTE["paper"], "edgecolor": "none"}
            axes.annotate(_signed(ask.gain), (day, height), color=colour, fontsize=8, bbox=box, **place)


def _mark_names(axes: Axes, height: float) -> None:
    for x, marker, name, colour in ((1.017, "o", "promoted", "good"), (1.121, "X", "rejected", "bad")):
        place = axes.get_yaxis_transform()
        axes.plot([x], [height], marker=marker, markersize=8, color=PALETTE[colour], transform=place, clip_on=False)
        axes.text(x + 0.013, height, name, color=PALETTE[colour], transform=place, va="center", fontsize=9.5)


def _months(axes: Axes, story: Story) -> None:
    axes.set_xlim(_day(story.weeks[0].start), _day(story.weeks[-1].start + timedelta(days=7)))
    axes.xaxis.set_major_locator(MonthLocator())
    axes.xaxis.set_major_formatter(DateFormatter("%b"))
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("left")


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=11, fontweight="bold", pad=8)


def _beside(axes: Axes, height: float, text: str, colour: str, *, weight: str = "normal", size: float = 10) -> None:
    axes.annotate(
        text,
        (1.0, height),
        xycoords=("axes fraction", "data"),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        fontweight=weight,
        fontsize=size,
        annotation_clip=False,
    )


def _spread(heights: Sequence[float], apart: float) -> list[float]:
    """The same heights, given from the top down, moved so that none is nearer than `apart` to the next."""
    moved = list(heights)
    for index in range(1, len(moved)):
        moved[index] = min(moved[index], moved[index - 1] - apart)
    return moved


def _above(upper: Sequence[float], lower: Sequence[float]) -> list[bool]:
    return [high >= low for high, low in zip(upper, lower, strict=True)]


def _colour(ask: Ask) -> str:
    return PALETTE["good"] if ask.outcome == "promoted" else PALETTE["bad"]


def _signed(gain: float) -> str:
    return f"{gain:+.3f}".replace("0.", ".").replace("-", "−")


def _day(day: date) -> float:
    return float(date2num(day))


def _middles(story: Story) -> list[float]:
    return [_day(week.start) + 3.5 for week in story.weeks]
