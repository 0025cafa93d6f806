"""Where the output of attempts goes: a log per worker, in one file after the other, and for each attempt its bytes."""

from __future__ import annotations

import errno
import faulthandler
import fcntl
import io
import logging
import os
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, cast

from headrace.executors.redaction import redacted, redacted_bytes
from headrace.runs.facts import LogSpan

TURN_BYTES = 64 << 20  # a log goes on in a new file
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


def newest_log(first: Path) -> Path:
    """The file that a log is written to by now, of which this was the first: `w1-1.log`, `w1-1.2.log`, and so on."""
    found, n = first, 2
    while (following := first.with_name(f"{first.stem}.{n}{first.suffix}")).exists():
        found, n = following, n + 1
    return found


class LogFile:
    """An append-only log and where the last attempt's part ends. What comes between two attempts is the later one's.

    A shared lock on the file says that somebody may still write it: retention leaves it alone.
    """

    def __init__(self, path: Path, name: str, *, turn_bytes: int = TURN_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.fd = _open_log(path)
        self._first, self._name, self._turn_bytes = path, name, turn_bytes
        self._files = 1
        self._end = os.fstat(self.fd).st_size
        self._lines = _Lines(self.fd)

    def span(self) -> LogSpan | None:
        """What was written since the last call; None for nothing."""
        end = os.fstat(self.fd).st_size
        if end == self._end:
            return None
        span = LogSpan(self._name, self._end, end)
        self._end = end
        return span

    def turns(self) -> bool:
        """Go on in a new file where this one is long enough. `fd` stays, and is another file then."""
        if self._end < self._turn_bytes:
            return False
        following = self._first.with_name(f"{self._first.stem}.{self._files + 1}{self._first.suffix}")
        try:
            fd = _open_log(following)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            return False  # it goes on in this one
        os.dup2(fd, self.fd, inheritable=False)
        os.close(fd)
        self._files += 1
        self._name, self._end = following.name, os.fstat(self.fd).st_size
        return True

    def write(self, body: bytes) -> None:
        self._lines.write(body)

    def close(self) -> None:
        os.close(self.fd)


def _open_log(path: Path) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd


class _Lines:
    """Writes to a descriptor. What its disk refuses is dropped, and that is said there when it writes again.

    A task does not fail because what it prints cannot be kept.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._dropped = 0
        self._why = ""

    def write(self, body: bytes) -> None:
        if self._dropped:
            body = f"(the disk refused {self._dropped:,} bytes here: {self._why})\n".encode() + body
        left = memoryview(body)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            self._dropped, self._why = self._dropped + len(left), error.strerror or str(error)
        else:
            self._dropped = 0


class ProcessOutput:
    """Takes file descriptors 1 and 2 of this process, so that C code and children are heard too.

    Secrets are concealed in what Python code writes. What C code and children write goes to the file as it is.
    """

    def __init__(self, log: LogFile) -> None:
        self._log = log
        self._open()
        faulthandler.enable(file=log.fd)  # a segfault leaves its stack in the log
        _log_to(_Stderr())

    def span(self) -> LogSpan | None:
        """What the attempt wrote. The task may have put anything in the place of its output, or have closed it."""
        left = getattr(sys, "stdout", None), getattr(sys, "stderr", None)
        sys.stdout, sys.stderr = self._own
        for output, own in zip(left, self._own, strict=True):
            if output is not own:
                with suppress(Exception):  # none at all, or one of the task's own, which does not cost it its result
                    cast(TextIO, output).flush()
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (ValueError, OSError):  # the task closed them; the next one gets new ones
            self._open()
        span = self._log.span()
        if self._log.turns():
            self._take_over()
        return span

    def _open(self) -> None:
        self._take_over()
        # By line, so that a killed task's last words are kept and a reader can follow.
        self._own = take_standard_output()

    def _take_over(self) -> None:
        os.dup2(self._log.fd, 1)
        os.dup2(self._log.fd, 2)


class Tee:
    """While inside, this process's `print` and logging go to the log as well as to where they went before.

    A handler that was made earlier writes to where they went before: there secrets are concealed too.
    """

    def __init__(self, log: LogFile) -> None:
        self._log = log
        self._before: tuple[TextIO, TextIO] = (sys.stdout, sys.stderr)
        self._own: tuple[TextIO, ...] = ()
        self._concealing = ExitStack()
        self._handler = logging.StreamHandler(_text(_Copy(log)))
        self._handler.setFormatter(_LogFormat())

    def __enter__(self) -> None:
        self._before = (sys.stdout, sys.stderr)
        self._own = tuple(_text(_Copy(self._log, shown)) for shown in self._before)
        streams = (*self._before, sys.__stdout__, sys.__stderr__)
        for stream in {id(s): s for s in streams if s is not None and hasattr(s, "__dict__")}.values():
            self._concealing.enter_context(_concealed(stream))
        sys.stdout, sys.stderr = self._own
        logging.getLogger().addHandler(self._handler)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        logging.getLogger().removeHandler(self._handler)
        sys.stdout, sys.stderr = self._before
        with self._concealing:
            for text in self._own:
                if not text.closed:  # the task may have
                    text.flush()  # what it printed without an end of line


@contextmanager
def _concealed(stream: TextIO) -> Generator[None]:
    """While inside, this very object writes no secrets, whoever holds it."""
    write = stream.write
    own = vars(stream).get("write")

    def concealing(text: str, /) -> int:
        return write(redacted(text))

    stream.write = concealing
    try:
        yield
    finally:
        if own is None:
            del stream.write
        else:
            stream.write = own


class _Copy(io.RawIOBase):
    """What lies below the text: gets whole lines, for the log and for where they went before."""

    def __init__(self, log: LogFile, shown: TextIO | None = None) -> None:
        self._log, self._shown = log, shown

    def write(self, body: Any, /) -> int:
        found = redacted_bytes(bytes(body))
        self._log.write(found)
        if self._shown is not None:
            self._shown.write(found.decode("utf-8", "replace"))
        return len(body)

    def flush(self) -> None:
        if self._shown is not None and not self._shown.closed:
            self._shown.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._shown is not None and self._shown.isatty()

    def fileno(self) -> int:
        if self._shown is None:
            raise io.UnsupportedOperation("fileno")
        return self._shown.fileno()


class _Stderr:
    """What `sys.stderr` is at the moment of writing, so that a task may redirect it."""

    def write(self, text: str) -> Any:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class _LogFormat(logging.Formatter):
    """`HH:MM:SS LEVEL name message`, in UTC as everything that Headrace shows."""

    converter = time.gmtime

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s", "%H:%M:%S")


def _log_to(stream: Any) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_LogFormat())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def take_standard_output() -> tuple[TextIO, TextIO]:
    """New `sys.stdout` and `sys.stderr` on the descriptors 1 and 2, and the same for what asks for the original ones."""
    own = text_output(1), text_output(2)
    for names in (("stdout", "stderr"), ("__stdout__", "__stderr__")):
        for name, text in zip(names, own, strict=True):
            setattr(sys, name, text)
    return own


def text_output(fd: int) -> TextIO:
    """Text for a file descriptor, written line by line and without the secrets of this process.

    A value that comes in pieces is found where they make up one line.
    """
    return _text(_Redacting(fd))


def _text(body: io.RawIOBase) -> TextIO:
    return io.TextIOWrapper(body, encoding="utf-8", errors="backslashreplace", line_buffering=True)  # pyright: ignore


class _Redacting(io.RawIOBase):
    """What lies below the text: gets whole lines. Closing it leaves the descriptor open."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines = _Lines(fd)

    def write(self, body: Any, /) -> int:
        self._lines.write(redacted_bytes(bytes(body)))
        return len(body)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)
