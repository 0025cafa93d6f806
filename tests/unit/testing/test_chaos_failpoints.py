"""Failpoints: every name is a place in the code, and a process strikes itself where it is told to."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import headrace
from headrace.host.failpoints import ARMED, FOLDER, POINTS, armed_in

REACHED = re.compile(r"\breach\(\"([a-z_.]+)\"\)")
LOOPS = """
import sys
from headrace.host.failpoints import reach
for n in range(1, 6):
    print(n, flush=True)
    reach("engine.before_commit")
    reach("engine.after_commit")
"""


def process(**environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", LOOPS], env=environment, stdout=subprocess.PIPE, text=True)


def test_every_point_is_reached_in_one_place_of_the_code_and_no_other_name_is() -> None:
    code = [file.read_text() for file in Path(headrace.__file__).parent.rglob("*.py")]
    assert sorted(name for text in code for name in REACHED.findall(text)) == sorted(POINTS)


def test_a_process_kills_itself_at_the_nth_time() -> None:
    armed = process(**{ARMED: "engine.before_commit=kill@3"})
    said, _ = armed.communicate(timeout=120)
    assert armed.returncode == -signal.SIGKILL
    assert said.split() == ["1", "2", "3"]


def test_of_all_processes_that_share_a_folder_one_strikes_and_leaves_its_pid(tmp_path: Path) -> None:
    environment = {ARMED: "engine.after_commit=kill", FOLDER: str(tmp_path)}
    first, second = process(**environment), None
    first.communicate(timeout=120)
    second = process(**environment)
    assert second.communicate(timeout=120)[0].split() == ["1", "2", "3", "4", "5"]
    assert (first.returncode, second.returncode) == (-signal.SIGKILL, 0)
    assert (tmp_path / "engine.after_commit").read_text() == f"{first.pid} kill\n"


def test_nobody_strikes_when_the_folder_is_gone(tmp_path: Path) -> None:
    late = process(**{ARMED: "engine.after_commit=kill", FOLDER: str(tmp_path / "gone")})
    late.communicate(timeout=120)
    assert late.returncode == 0


@pytest.mark.parametrize("text", ["engine.nowhere=kill", "engine.before_commit", "engine.before_commit=kill@0"])
def test_a_mistake_in_the_variable_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="expected POINT=kill@N"):
        armed_in({ARMED: text})
