"""References to data: `weather.latest()`, `delay.champion()`. Typed as the data; at run time a name, pinned later."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from headrace.data.placeholder import Placeholder
from headrace.data.where import user_line
from headrace.definitions.nodes import DatasetRef
from headrace.errors import GraphError

if TYPE_CHECKING:
    from headrace.data.recording import Dataset


class Reference(Placeholder):
    """A reference, legal as a task's argument in a pipeline body and in a stream's `bind=`."""

    __slots__ = ("dataset", "ref", "where")

    dataset: Dataset
    ref: DatasetRef
    where: str

    def __init__(self, dataset: Dataset, how: str, arg: str | int | None = None) -> None:
        self.dataset = dataset
        self.ref = DatasetRef(kind=dataset.kind, name=dataset.name, how=how, arg=arg)
        self.where = user_line()

    def _refuse(self, use: str) -> NoReturn:
        raise use_refused(self, use)


def use_refused(reference: Reference, use: str) -> GraphError:
    """The error for a reference that is used as if it were the data."""
    name, now = reference.dataset.name, "load()" if reference.ref.kind == "model" else "read()"
    call = f"{name}.{'champion' if reference.ref.how == 'alias' else reference.ref.how}(…)"
    return GraphError(
        f"{call} is a reference, not the data, and {use}",
        where=user_line(),
        cure=f"for the data here, call {name}.{now}; a reference is passed to a task in a pipeline body or to bind=",
        code="HR1101",
    )
