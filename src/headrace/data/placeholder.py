"""A stand-in for a value that is not there yet: every use of it that Python can intercept raises, with the cure."""

from __future__ import annotations

from typing import Any, NoReturn

_NAMES = (
    "lt le eq ne gt ge hash bool len iter next contains getitem setitem delitem call await enter exit "
    "str repr format int float complex index bytes round trunc floor ceil abs neg pos invert reversed length_hint "
    "add radd iadd sub rsub isub mul rmul imul truediv rtruediv itruediv floordiv rfloordiv ifloordiv mod rmod imod "
    "divmod rdivmod pow rpow ipow matmul rmatmul imatmul and rand iand or ror ior xor rxor ixor "
    "lshift rlshift ilshift rshift rrshift irshift aiter anext aenter aexit copy deepcopy reduce_ex dir"
)


class Placeholder:
    """Base of the handles of a pipeline body and of references to data. Subclasses say in `_refuse` what went wrong."""

    __slots__ = ()

    def _refuse(self, use: str) -> NoReturn:
        raise NotImplementedError(use)

    def __getattr__(self, name: str) -> NoReturn:
        self._refuse(f"its attribute `{name}` is asked for")


def _refusing(operator: str) -> Any:
    def refuse(self: Placeholder, *_: object) -> NoReturn:
        self._refuse(f"`__{operator}__` needs its value")  # pyright: ignore[reportPrivateUsage]

    return refuse


for _operator in _NAMES.split():
    setattr(Placeholder, f"__{_operator}__", _refusing(_operator))
