"""Models: a name with versions and aliases, its labels, and its policy for promotion."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from headrace.base.durations import micros
from headrace.data import recording
from headrace.data.access import access
from headrace.data.names import checked_name
from headrace.data.reference import Reference
from headrace.data.topic import Source, Topic
from headrace.data.where import user_line
from headrace.definitions.project import CHAMPION, GateDef, ModelDef
from headrace.errors import ProjectError

if TYPE_CHECKING:
    import polars as pl

    from headrace.data.window import Window

M = TypeVar("M")


class Model(Generic[M]):
    """A model, the class of its values, and its policy in one place.

    `labels`, `on`, `label` say where the truth is: the topic, the key shared with the predictions, the label's column.
    `mature` is how long after a row its label may take. `missing` says what a mature row without label is.
    `promote` is the gate against the champion (without it every version is promoted); `cooldown` the least distance
    between two trainings, in event time.

    >>> delay = Model("delay", dict, promote=if_better("auc", by=0.003), cooldown="14d")
    """

    kind = "model"

    def __init__(
        self,
        name: str,
        of: type[M] | None = None,
        *,
        labels: Topic | None = None,
        on: str | None = None,
        label: str | None = None,
        mature: str | timedelta = "0s",
        missing: Literal["error", "late"] = "error",
        promote: GateDef | None = None,
        cooldown: str | timedelta = "0s",
    ) -> None:
        self.name: str = checked_name("model", name)
        self.of = of
        self.labels = labels
        self.where: str = user_line()
        if labels is not None and not (on and label):
            raise ProjectError(
                f"the model {name!r} has labels but does not say how to find them",
                where=self.where,
                cure='give on="…", the key shared with the predictions, and label="…", the column with the truth',
            )
        self.definition: ModelDef = ModelDef(
            name=name,
            labels=labels.name if labels else None,
            on=on,
            label=label,
            mature_us=micros(mature),
            missing=missing,
            promote=promote,
            cooldown_us=micros(cooldown),
        )

    def examples(self, source: Source | Topic, window: Window) -> pl.DataFrame:
        """The source's rows in the window with their label: the join that training, monitor and gate share.

        Immature rows are left out; a mature row without label is an error, or counted with `missing="late"`.
        """
        recording.act_now(f"{self.name}.examples()", "call it inside a task")
        chosen = source if isinstance(source, Source) else Source(source)
        return access().examples(self.definition, chosen.definition, window)

    def register(
        self,
        value: M,
        *,
        fit: pl.DataFrame,
        test: pl.DataFrame,
        predict: Callable[[M, pl.DataFrame], pl.Series],
    ) -> int:
        """A new version, judged on `test` by the model's policy; returns its number.

        Every row of `test` is later in event time than every row of `fit`; `hr.split` makes both. `predict` is a
        function of a module, kept with the version. In a pipeline body it is recorded as the task `register <name>`.
        """
        recorder = recording.active.get()
        if recorder is not None:
            return recorder.act("register", self, {"value": value, "fit": fit, "test": test, "predict": predict})
        return access().register(self.definition, value, fit=fit, test=test, predict=predict)

    def load(self, *, alias: str | None = None, version: int | None = None) -> M:
        """The model itself, now: the champion, or that alias or version."""
        recording.act_now(f"{self.name}.load()", f"pass {self.name}.champion() to the task, or load inside it")
        if alias is None and version is None:
            alias = CHAMPION
        return access().load_model(self.definition, alias=alias, version=version)

    def champion(self) -> M:
        """A reference to the version that serves: for a task's argument in a body, or for `bind=`."""
        return self.alias(CHAMPION)

    def alias(self, name: str) -> M:
        """A reference to the version that the alias points to, for example "challenger"."""
        return cast("Any", Reference(self, "alias", name))

    def version(self, number: int) -> M:
        """A reference to that version."""
        return cast("Any", Reference(self, "version", number))

    def __repr__(self) -> str:
        return f"Model({self.name!r})"


def if_better(metric: str, *, by: float = 0.0, inconclusive: Literal["keep", "promote"] | None = None) -> GateDef:
    """The gate: promote when the challenger gains more than `by` in `metric` over the champion on the same rows.

    `inconclusive` decides when the gain lies within one standard error of `by`; without it `gain > by` decides alone.

    >>> if_better("auc", by=0.003).metric
    'auc'
    """
    return GateDef(metric=metric, by=by, inconclusive=inconclusive)
