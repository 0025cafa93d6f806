"""How datasets take part in the recording of a pipeline body, without knowing the room that records."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from headrace.data.where import user_line
from headrace.errors import GraphError

if TYPE_CHECKING:
    from headrace.data.model import Model
    from headrace.data.table import Table
    from headrace.data.topic import Topic

    Dataset = Topic | Table | Model[Any]


class Recording(Protocol):
    """What a body's recorder does for a dataset: `kind` is "write", "append" or "register"."""

    def act(self, kind: str, dataset: Dataset, inputs: dict[str, object]) -> Any: ...


active: ContextVar[Recording | None] = ContextVar("headrace_recording", default=None)


def act_now(call: str, cure: str) -> None:
    """Refuse, inside a pipeline body, a call that acts at once. Raises `GraphError`."""
    if active.get() is not None:
        raise GraphError(
            f"{call} acts at once, and a pipeline body is only recorded", where=user_line(), cure=cure, code="HR1101"
        )
