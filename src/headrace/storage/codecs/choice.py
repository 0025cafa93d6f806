"""Which codec a value gets, by its type. Nothing is imported: a value of a library proves that it is loaded."""

from __future__ import annotations

from typing import Any

from headrace.storage.codecs.arrow import ArrowFrame, ArrowLazy, ArrowSeries
from headrace.storage.codecs.codec import Codec
from headrace.storage.codecs.lightgbm import Lightgbm
from headrace.storage.codecs.npy import Npy
from headrace.storage.codecs.pickled import Pickled
from headrace.storage.codecs.raw import RawBytes
from headrace.storage.codecs.sklearn import Sklearn

PICKLE = Pickled()
_FRAMES: dict[str, Codec] = {"DataFrame": ArrowFrame(), "Series": ArrowSeries(), "LazyFrame": ArrowLazy()}
_NPY, _LIGHTGBM, _SKLEARN, _BYTES = Npy(), Lightgbm(), Sklearn(), RawBytes()

BY_NAME: dict[str, Codec] = {
    codec.name: codec for codec in (*_FRAMES.values(), _NPY, _LIGHTGBM, _SKLEARN, _BYTES, PICKLE)
}


def codec_for(value: Any) -> Codec | None:
    """The codec made for exactly this type; None where only pickle is left. Subclasses would lose their class: None."""
    kind = type(value)
    if kind.__module__ == "builtins":
        return _BYTES if kind is bytes else None
    match kind.__module__.partition(".")[0], kind.__name__:
        case "polars", name:
            return _FRAMES.get(name)
        case "numpy", "ndarray":
            return None if value.dtype.hasobject else _NPY
        case "lightgbm", "Booster":
            return _LIGHTGBM
        case "sklearn", _ if hasattr(value, "get_params"):
            return _SKLEARN
        case _:
            return None
