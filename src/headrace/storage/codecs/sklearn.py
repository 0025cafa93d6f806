"""scikit-learn estimators by skops: reading a file constructs named types and runs no code of the file."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path
from typing import Any

from headrace.errors import CodecError, MissingExtraError

_TRUSTED_ROOTS = ("builtins", "numpy", "scipy", "sklearn")


class Sklearn:
    """Estimators and pipelines that consist of types of scikit-learn, numpy and scipy alone."""

    name = "skops"
    suffix = ".skops"

    def write(self, value: Any, path: Path) -> None:
        """Raises `CodecError` where the estimator holds a type of somebody else, which could not be read back."""
        skops = _skops()
        skops.dump(value, path)
        strangers = _strangers(skops, path)
        if strangers:
            raise CodecError(f"it holds types that skops does not trust: {', '.join(strangers)}", code="HR1404")

    def load(self, path: Path) -> Any:
        skops = _skops()
        strangers = _strangers(skops, path)
        if strangers:
            raise CodecError(
                f"this model file names types outside scikit-learn, numpy and scipy: {', '.join(strangers)}",
                where=path.name,
                cure="it was not written by Headrace; do not load it",
                code="HR1404",
            )
        return skops.load(path, trusted=skops.get_untrusted_types(file=path))

    def hand_out(self, loaded: Any) -> Any:
        return copy.deepcopy(loaded)  # partial_fit changes its estimator; a retry must get the stored one


def _strangers(skops: Any, path: Path) -> list[str]:
    names: list[str] = skops.get_untrusted_types(file=path)
    return [name for name in names if name.partition(".")[0] not in _TRUSTED_ROOTS]


def _skops() -> Any:
    try:
        return importlib.import_module("skops.io")
    except ModuleNotFoundError:
        raise MissingExtraError("skops", extra="sklearn") from None
