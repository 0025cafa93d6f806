"""Every benchmark runs once at a tiny size: that it works and says what it should, never how fast it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
BATCH = {"idle": 2, "chain": 1, "fan_out": 2, "recovery": 2, "trigger": 2, "many_runs": 1, "frame": 1, "start": 4}
STREAMS = {"stream_log": 10, "stream_latency": 2, "event_run": 2}
ALONE = {"limits": 7, "imports": 3, "growth": 10, "churn": 9, "crowd": 4}


def run(module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.process
@pytest.mark.parametrize("figures", [BATCH, STREAMS, ALONE], ids=["batch", "streams", "alone"])
def test_every_scenario_prints_its_figures(figures: dict[str, int], tmp_path: Path):
    out = tmp_path / "results.jsonl"
    printed = run("benchmarks.run", "--quick", "--out", str(out), *figures)
    lines = [msgspec.json.decode(line) for line in printed.splitlines()]
    assert out.read_text() == printed
    assert {name: sum(line["scenario"] == name for line in lines) for name in figures} == figures
    for line in lines:
        assert line["runs"] == len(line["samples"]) >= 1
        assert line["low"] <= line["median"] <= line["high"]
        assert line["low"] > 0 or line["figure"] in ("processor", "attempts that ran again")
        assert line["met"] is None or line["target"] > 0
        assert line["unit"] in ("s", "MiB", "cores", "rows/s", "rows/core-s", "attempts")
        assert line["load"] >= 0
        assert line["foreign_cpu"] >= 0


LINE = (
    '{"scenario": "chain", "figure": "asked to ended", "size": 100, "unit": "s", "samples": [0.1, 0.2, 0.3],'
    ' "target": 0.25, "limit": 0.1, "limit_of": "a commit per hop", "median": 0.2, "low": 0.1, "high": 0.3, "runs": 3,'
    ' "met": true, "times_limit": 2.0, "load": 0.5, "foreign_cpu": 0.1, "at": "2026-11-22T17:00:00+00:00"}\n'
)


def test_two_files_are_compared_as_ratios_to_the_limits_of_their_own_hour(tmp_path: Path):
    slower = msgspec.json.encode(
        msgspec.json.decode(LINE) | {"median": 0.4, "low": 0.35, "high": 0.5, "times_limit": 4}
    )
    (tmp_path / "a").write_text(LINE)
    (tmp_path / "b").write_bytes(slower)
    shown = run("benchmarks.compare", str(tmp_path / "a"), str(tmp_path / "b")).splitlines()[-1]
    assert shown == "| chain | asked to ended | 100 | 200 ms | 400 ms | 2.00 | 2 | 4 | apart |"


def test_the_page_holds_each_figure_against_its_target_and_limit(tmp_path: Path):
    (tmp_path / "results").write_text(LINE)
    run("benchmarks.report", str(tmp_path / "results"), str(tmp_path / "page.md"))
    page = (tmp_path / "page.md").read_text()
    row = "| `chain` | asked to ended | 100 | 250 ms | 200 ms | 100 ms – 300 ms | 100 ms | 2 | yes | 0.1 |"
    assert row in page.splitlines()
    assert "- `chain`: a commit per hop." in page
