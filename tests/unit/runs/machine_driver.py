"""Drives a `Machine` without store, processes or time: workers answer at once, by a function of the attempt."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from headrace.definitions.nodes import Graph
from headrace.definitions.project import ParamDef, PipelineDef, Project
from headrace.runs import facts as f
from headrace.runs.commands import CancelAttempt, KillWorker, SpawnWorker, StartAttempt, StopWorker
from headrace.runs.events import AttemptDone, AttemptErrored, Deployed, Event, RunAsked, WorkerDied, WorkerReady
from headrace.runs.machine import Machine
from headrace.runs.rows import RunRow
from headrace.runs.state import State


def value(plain: Any) -> f.Value:
    length = len(plain) if isinstance(plain, list | tuple) else None
    lengths = tuple(len(x) if isinstance(x, list) else None for x in plain) if length is not None else None
    return f.Value("json", json.dumps(plain), length=length, lengths=lengths)


def ended_row(run: str, *, key: str = "k", cause: str = "person") -> RunRow:
    """A run that has failed, as a request for its retry finds it."""
    return RunRow(
        run, "engine", "p", "c1", key, cause, "failed", {}, None, (), "", (), (), 5, 1, 0, 0, 0, 9, None, None,
        "failed: a", None, None,
    )  # fmt: skip


class Driver:
    """`behave(start)` returns a plain result, raises, or returns an Event of its own."""

    def __init__(self, graph: Graph, behave: Callable[[StartAttempt], Any], *, pool_size: int = 2) -> None:
        self.machine = Machine(State(pool_size=pool_size))
        self.behave = behave
        self.now_us = 1_000_000
        self.facts: list[Any] = []
        self.starts: list[StartAttempt] = []
        self.pending: list[Event] = []
        project = Project(
            "p", pipelines={"p": PipelineDef("p", "m:p", graph, (ParamDef("items", "json", default=[]),))}
        )
        self.send(Deployed("c1", project, b"{}"))

    def send(self, *events: Event) -> None:
        decision = self.machine.step(events, now_us=self.now_us, mono_us=self.now_us, entropy=len(self.facts))
        self.facts += decision.facts
        for command in decision.commands:
            match command:
                case SpawnWorker(worker=worker):
                    self.pending.append(WorkerReady(worker))
                case StartAttempt():
                    self.starts.append(command)
                    self.pending.append(self._attempt(command))
                case CancelAttempt(worker=worker, serial=serial):
                    waits = [x for x in self.pending if getattr(x, "serial", 0) == serial and x.worker == worker]
                    self.pending = [x for x in self.pending if x not in waits]
                    self.pending.append(AttemptErrored(worker, serial, "the run was cancelled", retryable=False))
                case KillWorker(worker=worker, why=why):
                    begun = max((s.serial for s in self.starts if s.worker == worker), default=0)
                    self.pending = [e for e in self.pending if getattr(e, "worker", "") != worker]
                    self.pending.append(WorkerDied(worker, begun, why))
                case StopWorker(worker=worker):
                    self.pending.append(WorkerDied(worker, 0, "left"))
                case _:
                    pass

    def run(self, **params: Any) -> str:
        self.send(RunAsked("p", f"k{self.now_us}", params=params))
        self.settle()
        return next(x.run for x in reversed(self.facts) if isinstance(x, f.RunCreated))

    def settle(self) -> None:
        for _ in range(100_000):
            if self.pending:
                batch, self.pending = self.pending, []
                self.send(*batch)
            elif (due := self.machine.next_due_us()) is not None and self.machine.state.runs:
                self.now_us = max(self.now_us, due)
                self.send()
            else:
                return
        raise AssertionError("did not settle")

    def _attempt(self, start: StartAttempt) -> Event:
        try:
            result = self.behave(start)
        except Exception as error:
            return AttemptErrored(start.worker, start.serial, f"{type(error).__name__}: {error}")
        if isinstance(result, WorkerDied | AttemptDone):
            return result
        return AttemptDone(start.worker, start.serial, value(result), 10)

    def of(self, kind: type) -> list[Any]:
        return [x for x in self.facts if isinstance(x, kind)]

    @property
    def ended(self) -> f.RunEnded:
        return self.of(f.RunEnded)[-1]
