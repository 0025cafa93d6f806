"""The load: real commands in processes of their own, and what each asked for and was told."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from headrace.testing.chaos.ledger import CLIENTS, Asked, now_us, record
from headrace.testing.chaos.stage import Stage

LANES = 2  # clients at once
GAP_S = (0.2, 0.8)  # between two clients of a lane
ROWS, SIGNALS = (20, 60), (1, 4)
POISON_EVERY = 40  # rows: well below the share at which a stream stops
CHOICES = {"chain": 3, "fan": 4, "publish": 3, "rows": 5, "signals": 3, "run": 1}


def is_loud(n: int) -> bool:
    """Whether the signal of this number starts a run."""
    return n % 3 != 0


@dataclass
class _Client:
    asked: Asked
    popen: subprocess.Popen[bytes]
    output: Path


@dataclass
class Load:
    """`arm(verb)` is what a client carries in its environment; `is_enough()` says that the engine has work already."""

    stage: Stage
    dice: random.Random
    arm: Callable[[str], dict[str, str]]
    is_enough: Callable[[], bool]
    _clients: list[_Client] = field(default_factory=list[_Client])
    _due_s: list[float] = field(default_factory=lambda: [0.0] * LANES)
    _count: int = 0
    _number: int = 0

    @property
    def pids(self) -> list[int]:
        """Those that have not ended."""
        return [client.popen.pid for client in self._clients if client.popen.poll() is None]

    def tend(self) -> None:
        """Write down what has ended, and begin what is due."""
        self.reap()
        for lane, due_s in enumerate(self._due_s):
            if len(self._clients) < LANES and time.monotonic() >= due_s:
                self._due_s[lane] = time.monotonic() + self.dice.uniform(*GAP_S)
                self._begin()

    def reap(self) -> bool:
        """Write down what has ended. Whether nobody is left."""
        for client in tuple(self._clients):
            code = client.popen.poll()
            if code is not None:
                self._clients.remove(client)
                self._note_end(client, code)
        return not self._clients

    def _begin(self) -> None:
        choices = ("rows", "signals") if self.is_enough() else tuple(CHOICES)
        choice = self.dice.choices(choices, [CHOICES[name] for name in choices])[0]
        if choice in ("rows", "signals"):
            self._append(choice)
        elif choice == "run":
            self._ask("run", self.dice.choice(("chain", "publish")))
        else:
            self._ask("trigger", choice)

    def _ask(self, verb: str, pipeline: str) -> None:
        (n,) = self._numbers(1)
        words = [verb, pipeline, f"n={n}"]
        if verb == "trigger" and self.dice.random() < 0.5:
            words.append("--no-wait")
        self._start(verb, pipeline, (n,), words)

    def _append(self, topic: str) -> None:
        numbers = self._numbers(self.dice.randint(*(ROWS if topic == "rows" else SIGNALS)))
        if topic == "rows":
            numbers = tuple(-n if n % POISON_EVERY == 0 else n for n in numbers)
            lines = [json.dumps({"n": n}) for n in numbers]
        else:
            lines = [json.dumps({"n": n, "loud": is_loud(n)}) for n in numbers]
        file = self._folder() / f"{self._count}.jsonl"
        file.write_text("\n".join(lines))
        self._start("append", topic, numbers, ["topics", "append", topic, "--file", str(file)])

    def _start(self, verb: str, name: str, numbers: tuple[int, ...], words: list[str]) -> None:
        asked = Asked("asked", self._count, verb, name, numbers, now_us())
        record(self.stage.witness, CLIENTS, asked)
        output = self._folder() / f"{self._count}.out"
        self._clients.append(_Client(asked, self.stage.client(words, output, self.arm(verb)), output))
        self._count += 1

    def _note_end(self, client: _Client, code: int) -> None:
        asked, said = client.asked, client.output.read_text(errors="replace")
        what = "acknowledged" if code == 0 else "killed" if code < 0 else "refused"
        record(
            self.stage.witness, CLIENTS,
            Asked(what, asked.client, asked.verb, asked.name, asked.numbers, now_us(), code, said if code > 0 else ""),
        )  # fmt: skip

    def _numbers(self, n: int) -> tuple[int, ...]:
        """Numbers that nobody has used."""
        first = self._number + 1
        self._number += n
        return tuple(range(first, first + n))

    def _folder(self) -> Path:
        folder = self.stage.root / "clients"
        folder.mkdir(exist_ok=True)
        return folder
