"""Handles: what stands in a pipeline body for a value that only a run knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from headrace.data.placeholder import Placeholder
from headrace.data.where import called_at, user_frame, user_line
from headrace.definitions.nodes import AnyInput, Choice, Condition, Param, Ref, Sequence
from headrace.errors import GraphError
from headrace.graph.annotations import is_named, item_of, tuple_length

if TYPE_CHECKING:
    from headrace.graph.recorder import Recorder


class Handle(Placeholder):
    """A value of a body: where it comes from, what it is called in messages, its annotation, and where it is valid.

    `scope` and `when` are the maps and branches in which it stands; `mapped`: it is the list of a map's results.
    """

    __slots__ = ("annotation", "mapped", "note", "recorder", "scope", "source", "when")

    recorder: Recorder
    source: AnyInput
    note: str
    annotation: Any
    scope: tuple[str, ...]
    when: tuple[Condition, ...]
    mapped: bool

    def __init__(
        self,
        recorder: Recorder,
        source: AnyInput,
        note: str,
        annotation: Any = None,
        *,
        scope: tuple[str, ...] = (),
        when: tuple[Condition, ...] = (),
        mapped: bool = False,
    ) -> None:
        self.recorder = recorder
        self.source = source
        self.note = note
        self.annotation = annotation
        self.scope = scope
        self.when = when
        self.mapped = mapped

    def __iter__(self) -> Iterator[Handle]:
        length = tuple_length(self.annotation)
        if length is None or self.mapped:
            self._refuse(
                "its items are asked for", "to unpack it, annotate the task with -> tuple[A, B]; or use hr.map"
            )
        items = [part_of(self.source, index) for index in range(length)]
        if any(item is None for item in items):
            self._refuse(
                "its parts are asked for twice over", "a result is unpacked once: return a flat tuple[A, B, C]"
            )
        return iter(
            [
                Handle(
                    self.recorder,
                    item,
                    f"an item of {self.note}",
                    item_of(self.annotation, index),
                    scope=self.scope,
                    when=self.when,
                )
                for index, item in enumerate(items)
                if item is not None
            ]
        )

    def _refuse(self, use: str, cure: str | None = None) -> NoReturn:
        name = _variable(self)
        subject = f"{name} is {self.note}" if name else f"here stands {self.note}"
        if cure is None and use.startswith("`>>`"):
            cure = "`>>` orders uncalled tasks; calls are ordered by hr.chain(a(x), b(y))"
        reached = called_at(self.recorder.body)
        here = user_line()
        raise GraphError(
            f"{subject} and is not known while the pipeline is built, but {use}"
            + (f" (called at {reached})" if reached not in (None, here) else ""),
            where=here,
            cure=cure or _cure(self),
            code="HR1106",
        )


def part_of(value: AnyInput, index: int) -> AnyInput | None:
    """The input that is the item of another one; None where it has no items to name."""
    match value:
        case Ref(node=node, item=None):
            return Ref(node, index)
        case Sequence(items=items) if index < len(items):
            return items[index]
        case Choice(test=test, then=then, otherwise=otherwise) if otherwise is not None:
            parts = part_of(then, index), part_of(otherwise, index)
            return None if parts[0] is None or parts[1] is None else Choice(test, parts[0], parts[1])
        case _:
            return None


def _cure(handle: Handle) -> str:
    if isinstance(handle.source, Param) and is_named(handle.annotation, "headrace", "Window"):
        return "pass the window to a task and read .start and .end there"
    return "put this into a task, or use hr.when or hr.map"


def _variable(handle: Handle) -> str | None:
    """What the user calls the handle where it is misused."""
    frame = user_frame()
    if frame is None:
        return None
    return next((name for name, value in frame.f_locals.items() if value is handle), None)
