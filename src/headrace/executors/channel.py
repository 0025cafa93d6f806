"""The worker's end of the socket: reports leave in groups, messages come in as they are needed."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from typing import Any, NoReturn

from headrace.executors.frames import FrameReader, frame
from headrace.executors.protocol import ToWorker

_READ_BYTES = 1 << 20
GROUP_US = 5_000  # a report waits at most so long for others


class Channel:
    """Blocking socket to the engine. Without the engine there is nothing to do: its end is the worker's end."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self._pid = os.getpid()
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._reader = FrameReader(list[ToWorker])
        self._waiting: list[Any] = []
        self._waiting_since_us = 0
        self._lock = threading.Lock()
        self._has_waiting = threading.Semaphore(0)
        self._is_armed = False
        # A forked child must not keep the engine from seeing this process's end.
        os.register_at_fork(after_in_child=self._socket.close)
        threading.Thread(target=self._leave_with_engine, name="headrace-engine-watch", daemon=True).start()
        threading.Thread(target=self._send_late, name="headrace-late-reports", daemon=True).start()

    def receive(self, *, wait: bool = True) -> list[Any]:
        """The messages of the frames that are there; with `wait` blocks for at least some bytes."""
        try:
            data = self._socket.recv(_READ_BYTES, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except ConnectionError:
            data = b""
        if not data:
            self._die()
        return self._reader.feed(data)

    def report(self, message: Any, now_us: int, *, more: bool) -> None:
        """Send the report, or with `more` work at hand let it wait for others, at most 5 ms."""
        with self._lock:
            if not self._waiting:
                self._waiting_since_us = now_us
            self._waiting.append(message)
            late = now_us - self._waiting_since_us > GROUP_US
            arm = more and not late and not self._is_armed
            self._is_armed = self._is_armed or arm
        if not more or late:
            self.flush()
        elif arm:
            self._has_waiting.release()  # once in 5 ms at most, so that the thread costs the short tasks nothing

    def send(self, message: Any) -> None:
        """Send at once, after what waits."""
        with self._lock:
            self._waiting.append(message)
        self.flush()

    def flush(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            if waiting:
                try:
                    self._socket.sendall(frame(waiting))
                except OSError:  # the engine is gone
                    self._die()

    def _send_late(self) -> None:
        """Reports of short tasks do not wait for the long one behind them."""
        while True:
            self._has_waiting.acquire()
            time.sleep(GROUP_US / 1e6)
            with self._lock:
                self._is_armed = False
            self.flush()

    def _leave_with_engine(self) -> None:
        poll = select.poll()
        poll.register(self._socket.fileno(), 0)  # nothing but the hang-up, which poll always reports
        poll.poll()
        self._die()

    def _die(self) -> NoReturn:
        """End this process and its children. Nothing is flushed or cleaned up: its attempts are lost already."""
        if os.getpid() == self._pid:  # not a forked child that found its way back here
            os.killpg(0, signal.SIGKILL)
        os._exit(1)
