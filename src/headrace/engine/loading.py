"""Loading the project beside the engine's loop: what was loaded waits here until the loop takes it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headrace.engine.loader import LoadedCode
from headrace.errors import HeadraceError, ProjectError


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of loading the project: a version, which may have problems, or an error. `request` asked for it."""

    result: LoadedCode | HeadraceError
    request: int | None = None


class Loading:
    """`load` loads the project in a process of its own; `ring` wakes the loop from another thread.

    `text` is the version of the files as they are now, which costs no import.
    """

    def __init__(self, load: Callable[[], LoadedCode], ring: Callable[[], object], text: Callable[[], str]) -> None:
        self._load, self._ring, self._text = load, ring, text
        self._done: queue.SimpleQueue[Loaded] = queue.SimpleQueue()

    def has_changed(self, code: str) -> bool:
        """Whether the files are others than those of this version; also where they cannot be read."""
        try:
            return self._text() != code
        except (HeadraceError, OSError):  # loading them says why
            return True

    def now(self, request: int | None = None) -> Loaded:
        try:
            return Loaded(self._load(), request)
        except HeadraceError as error:
            return Loaded(error, request)
        except Exception as error:  # in a thread nobody else would hear of it
            return Loaded(ProjectError(f"loading raised {type(error).__name__}: {error}"), request)

    def aside(self, request: int | None = None) -> None:
        """Load in a thread."""
        threading.Thread(target=self._put, args=(request,), name="headrace-load", daemon=True).start()

    def next_done(self) -> Loaded | None:
        """Take out the first of what has been loaded aside; None where there is nothing."""
        return None if self._done.empty() else self._done.get()

    def follow_files(self, watched: Path, is_over: threading.Event) -> None:
        """Load again whenever a file in the folder has changed. Returns when it is over."""
        from watchfiles import watch

        for _ in watch(watched, stop_event=is_over, debounce=100, step=20, raise_interrupt=False):
            if is_over.is_set():
                return
            self.aside()

    def _put(self, request: int | None) -> None:
        self._done.put(self.now(request))
        self._ring()
