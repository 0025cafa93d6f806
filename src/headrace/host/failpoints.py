"""Named moments at which a process can be told to die or to stop: what a random kill would meet once in a thousand.

Nothing happens unless `HEADRACE_FAILPOINTS` was set when the process began: `engine.before_commit=kill@3` is a SIGKILL of
itself at the third time it gets there, `stop` instead of `kill` a SIGSTOP; points are separated by commas. With
`HEADRACE_FAILPOINTS_FOLDER` each point strikes once in all processes that share the folder, and leaves a file of its name
there: the pid, and what was done to it.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass

POINTS = {
    "engine.log_taken": "a new engine has taken the log over, and has done nothing with it yet",
    "engine.before_commit": "it is decided, nothing is written",
    "engine.after_commit": "it is written, and the engine does not know it yet",
    "engine.before_carrying_out": "attempts are started in the rows, and no worker has heard of it",
    "engine.after_sending": "the workers have been told",
    "worker.before_function": "the arguments are read, user code has not begun",
    "worker.after_function": "user code has returned, nothing of it is stored",
    "worker.before_report": "result and tables are stored, nobody has heard of it",
    "table.part_written": "a part of a table is on the disk, and no version names it",
    "shard.after_reading": "a batch is read, user code has not begun",
    "shard.before_commit": "output, dead letters and offsets are made, nothing is written",
    "shard.after_commit": "they are written, and the shard does not know it yet",
    "client.after_asking": "a request is stored, its answer has not come",
}
"""Every point and what is true there. The names are those of `reach` calls."""

ARMED, FOLDER = "HEADRACE_FAILPOINTS", "HEADRACE_FAILPOINTS_FOLDER"
ACTIONS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_SHAPE = re.compile(r"([a-z_.]+)=(kill|stop)(?:@([1-9][0-9]*))?")


@dataclass(slots=True)
class Failpoint:
    """Strikes when it is reached for the last of `left` times."""

    action: str
    left: int


def armed_in(environ: Mapping[str, str]) -> dict[str, Failpoint]:
    """Read the variable. Raises ValueError for text that is none of it, or a name that is no point.

    >>> armed_in({"HEADRACE_FAILPOINTS": "engine.before_commit=kill@3,shard.after_commit=stop"})
    {'engine.before_commit': Failpoint(action='kill', left=3), 'shard.after_commit': Failpoint(action='stop', left=1)}
    """
    found: dict[str, Failpoint] = {}
    for text in filter(None, environ.get(ARMED, "").split(",")):
        shape = _SHAPE.fullmatch(text)
        if shape is None or shape[1] not in POINTS:
            raise ValueError(
                f"{ARMED}: expected POINT=kill@N or POINT=stop@N with one of {', '.join(POINTS)}; got {text!r}"
            )
        found[shape[1]] = Failpoint(shape[2], int(shape[3] or 1))
    return found


_armed = armed_in(os.environ)
_folder = os.environ.get(FOLDER, "")


def reach(name: str) -> None:
    """The process has got to the point of this name."""
    if _armed:
        _strike(name)


def _strike(name: str) -> None:
    point = _armed.get(name)
    if point is None:
        return
    point.left -= 1
    if point.left == 0 and _is_first(name, point.action):
        os.kill(os.getpid(), ACTIONS[point.action])


def _is_first(name: str, action: str) -> bool:
    """Whether no other process of the folder has struck here; says so there, in one write."""
    if not _folder:
        return True
    try:
        fd = os.open(os.path.join(_folder, name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except (FileExistsError, FileNotFoundError):  # no folder any more: nobody waits for strikes
        return False
    os.write(fd, f"{os.getpid()} {action}\n".encode())
    os.close(fd)
    return True
