"""`predict` functions: named so that they can be found again, and called so that one number a row comes back."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import NotFoundError, ProjectError, SchemaError

if TYPE_CHECKING:
    import polars as pl

    Predict = Callable[[Any, pl.DataFrame], pl.Series]

PREDICTION = "prediction"
"""The name of what a model says, among histograms and golden rows; no column that it reads may have it."""


def name_of(predict: Predict) -> str:
    """`module:qualname`. Raises `ProjectError` (HR1110) for a function that no other process could find."""
    module = getattr(predict, "__module__", None) or "?"
    qualname = getattr(predict, "__qualname__", None) or type(predict).__qualname__
    if module == "__main__":
        module = _main_module()
    if module == "?" or "<" in qualname:
        raise ProjectError(
            f"predict={qualname} cannot be found again, and a version is scored by its own predict as long as it lives",
            cure="define it with `def` at the top of a module of the project",
            code="HR1110",
        )
    return f"{module}:{qualname}"


def find(name: str) -> Predict:
    """The function of that name. Raises `NotFoundError` where this code has none."""
    module, _, qualname = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise NotFoundError(
            f"the code has no function {name}: {error}",
            cure="keep it, or register a new version of the model",
            code="HR2052",
        ) from error
    return found


def predictions(predict: Predict, model: Any, rows: pl.DataFrame, what: str) -> NDArray[np.float64]:
    """What `predict` says of each row, as float64. `what` names the version in errors.

    Raises `SchemaError` (HR1240) unless there is one number for each row.
    """
    said: Any = predict(model, rows)
    values = np.asarray(said.to_numpy() if hasattr(said, "to_numpy") else said)
    if values.shape != (len(rows),) or values.dtype.kind not in "biuf":
        raise SchemaError(
            f"predict gave {_shape(said, values)} for {len(rows):,} rows of {what}",
            cure="return a polars Series with one number for each row, in their order",
            code="HR1240",
        )
    numbers = values.astype(np.float64)
    missing = int(np.isnan(numbers).sum())
    if missing:
        raise SchemaError(
            f"predict gave no number for {missing:,} of {len(rows):,} rows of {what}",
            cure="give a number for every row, also where columns are null",
            code="HR1240",
        )
    return numbers


def _shape(said: object, values: NDArray[Any]) -> str:
    size = "x".join(str(n) for n in values.shape) or "one value"
    return f"a {type(said).__name__} of {size}, {values.dtype}"


def _main_module() -> str:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if file and Path(file).stem.isidentifier() else "?"
