"""The tables of the documentation: written by the command that has measured them, between marks in the page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from headrace.testing.simulator.campaign import Progress


def write_tables(page: Path, found: Progress) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- /NAME -->`. Raises ValueError where a mark is missing."""
    text = page.read_text()
    for name, table in (("planted bugs", planted_table(found)), ("seen states", seen_table(found))):
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = pattern.subn(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", text)
        if count != 1:
            raise ValueError(f"{page} has {count} places for {name!r}: it needs one pair of marks")
    page.write_text(text)


def planted_table(found: Progress) -> str:
    rows = sorted(found.planted.values(), key=lambda x: (x.area, x.name))
    cells = ((x.area, x.name, x.promise or "none", str(x.schedules) if x.schedules else "escaped") for x in rows)
    return _table(("area", "planted bug", "found by", "schedules"), cells)


def seen_table(found: Progress) -> str:
    total = found.total
    cells = (
        (state, f"{count:,}", f"{count / max(total.schedules, 1):.1%}")
        for state, count in sorted(total.saw.items(), key=lambda x: (-x[1], x[0]))
    )
    head = f"Of {total.schedules:,} schedules with {total.faults:,} faults and {total.runs:,} runs:\n\n"
    return head + _table(("what happened", "schedules", "share"), cells)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
