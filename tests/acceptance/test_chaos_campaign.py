"""The campaign of `make chaos`, short: real processes die at random moments and at failpoints, and nothing is amiss."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.testing.chaos.processes import of_project
from headrace.testing.chaos.stage import WITNESS

pytestmark = pytest.mark.process
KILLS = 12


def test_a_short_campaign_finds_nothing_amiss_and_leaves_nobody_behind(tmp_path: Path) -> None:
    root = tmp_path / "campaign"
    ended = subprocess.run(
        [sys.executable, "-m", "headrace.testing.chaos", "--kills", str(KILLS), "--seed", "7", "--folder", str(root)],
        env={k: v for k, v in os.environ.items() if not k.startswith(("HEADRACE_", "PYTEST_"))},
        capture_output=True, text=True, timeout=1500, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-5000:]
    report = json.loads(ended.stdout.splitlines()[-1])
    assert {kind: report[kind] for kind in ("lost", "doubled", "stuck", "wrong")} == dict.fromkeys(
        ("lost", "doubled", "stuck", "wrong"), 0
    )
    assert report["kills"] >= KILLS
    assert report["kills_of"]["engine"] >= 1
    assert report["tasks"] >= 1
    assert report["requests"] >= 1
    assert of_project(WITNESS, str(root / "witness" / "tasks.jsonl")) == []
