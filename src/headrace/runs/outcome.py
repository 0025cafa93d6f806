"""What deciding gives, one thing after the other: facts to commit and commands to carry out afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.base.facts import Fact
from headrace.data.facts import TopicAppended
from headrace.runs.commands import Command
from headrace.runs.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Filed:
    """A fact whose bytes lie in a file below the artifact root."""

    fact: TopicAppended
    path: str


Outcome = Fact | Filed | Command


@dataclass(slots=True)
class Decided:
    """All of one step: facts for the engine's log, files whose bytes belong to facts by index, commands in order.

    `refusals` are those of events that no row waits for an answer to.
    """

    facts: list[Fact] = field(default_factory=list[Fact])
    files: dict[int, str] = field(default_factory=dict[int, str])
    commands: list[Command] = field(default_factory=list[Command])
    refusals: list[Refusal] = field(default_factory=list[Refusal])
