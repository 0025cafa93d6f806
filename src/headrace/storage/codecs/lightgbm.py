"""LightGBM boosters in LightGBM's own text format: any version of LightGBM reads it, and reading runs no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headrace.errors import MissingExtraError


class Lightgbm:
    """`lightgbm.Booster`. Trees after the best iteration are left out, as `Booster.save_model` and `predict` do.

    The attempts of one worker share a loaded booster: it has no training data, so predicting is all it is for.
    """

    name = "lightgbm"
    suffix = ".lgb.txt"

    def write(self, value: Any, path: Path) -> None:
        path.write_text(value.model_to_string(), encoding="utf-8")

    def load(self, path: Path) -> Any:
        try:
            import lightgbm
        except ModuleNotFoundError:
            raise MissingExtraError("lightgbm", extra="lightgbm") from None
        return lightgbm.Booster(model_str=path.read_text(encoding="utf-8"))

    def hand_out(self, loaded: Any) -> Any:
        return loaded
