"""`python -m headrace.testing.chaos --minutes 5 --seed 1`: kill and pause a real project, then compare. See docs/testing.md."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from headrace.testing.chaos.campaign import Campaign

SHOWN = 30  # violations


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m headrace.testing.chaos", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=5.0, help="so long (default: 5)")
    length.add_argument("--kills", type=int, help="until so many processes were killed, an engine among them")
    parser.add_argument("--seed", type=int, default=1, help="of the dice; moments differ all the same")
    parser.add_argument("--folder", type=Path, help="a new folder, which is kept")
    given = parser.parse_args()
    root = given.folder or Path(tempfile.mkdtemp(prefix="headrace-chaos-"))
    root.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what it has started ends with it
    campaign = Campaign(root, seed=given.seed, kills=given.kills, seconds=given.minutes * 60, tell=_tell)
    result = campaign.run()
    for violation in result.violations[:SHOWN]:
        _tell(str(violation))
    if result.violations:
        _tell(f"{len(result.violations)} violations; everything is kept in {root}")
    elif given.folder is None:
        shutil.rmtree(root)
    print(json.dumps(result.report), flush=True)  # noqa: T201
    return 1 if result.violations else 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
