"""What streams have printed: the logs of their processes, of which each may have several streams."""

from __future__ import annotations

import time
from pathlib import Path

from headrace.cli.here import Here
from headrace.cli.output import notice, show_json, show_line

_POLL_S = 0.3
_LAST_BYTES = 64 << 10
_LAST_LINES = 100


def show_stream_log(here: Here, stream: str, *, follow: bool, as_json: bool) -> None:
    """The last lines of the logs of all stream processes, and with `follow` those that come, until Ctrl-C."""
    files = _files(here)
    others = sorted({*here.project.streams} - {stream})
    if others:
        notice(f"the log of the stream processes: {', '.join(others)} may print into it too")
    shown = {path: _show(path, _begin(path), len(files) > 1, as_json, last=_LAST_LINES) for path in files}
    if not files and not follow:
        notice(f"nothing was printed by the stream {stream}: headrace streams show {stream}")
    while follow:
        time.sleep(_POLL_S)
        for path in _files(here):
            if path.stat().st_size > shown.get(path, 0):
                shown[path] = _show(path, shown.get(path, 0), len(files) > 1, as_json)


def _files(here: Here) -> list[Path]:
    return [path for path in sorted(here.settings.logs.glob("stream-*.log")) if path.stat().st_size]


def _begin(path: Path) -> int:
    return max(0, path.stat().st_size - _LAST_BYTES)


def _show(path: Path, start: int, with_head: bool, as_json: bool, *, last: int | None = None) -> int:
    """Show the whole lines from there on, at most so many. Returns where they end."""
    with path.open("rb") as file:
        file.seek(start)
        body = file.read()
    body = body[: body.rfind(b"\n") + 1]
    lines = body.decode("utf-8", "replace").split("\n")[:-1]
    if with_head and not as_json and lines:
        show_line(f"--- {path.name}")
    for line in lines[0 if last is None else -last :]:
        if as_json:
            show_json({"process": path.stem, "line": line})
        else:
            show_line(line)
    return start + len(body)
