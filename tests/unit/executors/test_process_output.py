"""Whatever a task does to `sys.stdout`, its output is read and the next task has one."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.executors.output import LogFile, newest_log

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


TURNING = """
import os, sys
from pathlib import Path
from headrace.executors.output import LogFile, ProcessOutput
output = ProcessOutput(LogFile(Path(sys.argv[1]), "w.log", turn_bytes=10))
for text in ("short", "long enough", "next", "and so on"):
    print(text)
    os.system(f"echo a child of {text}")
    span = output.span()
    os.write(3, f"{span.file} {span.start} {span.end}\\n".encode())
"""


def test_a_log_that_is_long_goes_on_in_a_new_file(tmp_path: Path) -> None:
    log, told = tmp_path / "w.log", tmp_path / "told"
    with told.open("wb") as file:
        ran = subprocess.run(
            [sys.executable, "-c", TURNING.replace("os.write(3,", f"os.write({file.fileno()},"), str(log)],
            pass_fds=(file.fileno(),), capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert ran.returncode == 0, log.read_text() + ran.stderr
    spans = [line.split() for line in told.read_text().splitlines()]
    shown = [(tmp_path / file).read_text()[int(start) : int(end)] for file, start, end in spans]
    texts = ("short", "long enough", "next", "and so on")
    assert shown == [f"{text}\na child of {text}\n" for text in texts]
    assert [file for file, _, _ in spans] == ["w.log", "w.2.log", "w.3.log", "w.4.log"]
    assert newest_log(log).name == "w.5.log"


def test_somebody_has_a_log_open_as_long_as_it_may_be_written(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "w.log", "w.log")
    with (tmp_path / "w.log").open("rb") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        log.close()
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
