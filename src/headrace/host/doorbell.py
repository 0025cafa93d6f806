"""The doorbell: a datagram that says "look". A lost ring costs a slow poll, never an event."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import tempfile
from pathlib import Path

from headrace.errors import EngineUnavailableError


def doorbell_path(home: Path) -> Path:
    """Where the engine of the project folder `home` listens: short, since a socket's path ends at 107 bytes."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or Path(tempfile.gettempdir()) / f"headrace-{os.getuid()}")
    return base / f"hr-{hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]}.sock"


class Doorbell:
    """The listening end. `fileno` goes into a selector; `drain` empties it.

    Raises EngineUnavailableError where nothing can listen at `path`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # of an engine that was killed
            self._socket.bind(str(path))
        except OSError as error:
            self._socket.close()
            raise EngineUnavailableError(
                f"the engine cannot listen: {error}",
                where=str(path),
                cure="let XDG_RUNTIME_DIR name a folder of yours with a short path, or unset it",
                code="HR5012",
            ) from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(64):
                pass

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)


def ring(path: Path) -> bool:
    """Ring once. False where nobody listens; the caller's request is durable all the same."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as bell:
        try:
            bell.sendto(b"1", str(path))
        except BlockingIOError:
            return True  # full of rings already
        except OSError:
            return False
    return True
