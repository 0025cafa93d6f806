"""Whatever a task does to `sys.stdout`, its output is read and the next task has one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RIG = """
import sys
from pathlib import Path
from headrace.executors.output import LogFile, ProcessOutput
class Tee:
    def __init__(self): self.text = ""
    def write(self, text): self.text += text
class Angry(Tee):
    def flush(self): raise KeyError("angry")
output = ProcessOutput(LogFile(Path(sys.argv[1]), "w"))
own = sys.stdout, sys.stderr
print("before", end="")
exec(sys.argv[2])
first = output.span()
print("after")
second = output.span()
assert first is not None and second is not None, (first, second)
assert second.end - second.start == len("after\\n")
"""


@pytest.mark.parametrize(
    "done",
    [
        "sys.stdout = None",
        "sys.stdout = sys.stderr = Tee()",
        "sys.stderr = Angry()",
        "del sys.stdout",
        "sys.stdout.flush(); sys.stdout.close()",
    ],
)
def test_a_task_may_leave_anything_in_the_place_of_its_output(done: str, tmp_path: Path) -> None:
    log = tmp_path / "w.log"
    ran = subprocess.run([sys.executable, "-c", RIG, str(log), done], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, log.read_text() + ran.stderr
    assert log.read_text() == "beforeafter\n"
