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

# Who meets an error has written an operator or a function; which method Python calls for it is no concern of theirs.
_OPERATORS = (
    "lt < le <= eq == ne != gt > ge >= add + sub - mul * truediv / floordiv // mod % pow ** matmul @ and & or | xor ^ "
    "lshift << rshift >> neg - pos + invert ~ contains in call () getitem [] setitem []= delitem del await await"
)
_FUNCTIONS = "len iter next reversed repr float complex bytes round abs dir"
_signs = dict(zip(_OPERATORS.split()[::2], _OPERATORS.split()[1::2], strict=True))
_USES = (
    {name: f"`{sign}`" for name, sign in _signs.items()}
    | {f"r{name}": f"`{sign}`" for name, sign in _signs.items()}
    | {f"i{name}": f"`{sign}=`" for name, sign in _signs.items()}
    | {name: f"`{name}()`" for name in _FUNCTIONS.split()}
    | {
        "hash": "a key of a dict or set",
        "bool": "`if`, `and`, `or` or `not`",
        "format": "an f-string",
        "str": "`str()` or an f-string",
        "int": "`int()`",
        "index": "`range()` or an index",
        "copy": "a copy",
        "deepcopy": "a copy",
        "enter": "`with`",
        "exit": "`with`",
        "aenter": "`async with`",
        "aexit": "`async with`",
        "aiter": "`async for`",
    }
)


class Placeholder:
    """Base of the handles of a pipeline body and of references to data. Subclasses say in `_refuse` what went wrong."""

    __slots__ = ()

    def _refuse(self, use: str) -> NoReturn:
        raise NotImplementedError(use)

    def __getattr__(self, name: str) -> NoReturn:
        self._refuse(f"its attribute `{name}` is asked for")


def _refusing(operator: str) -> Any:
    use = f"{_USES.get(operator, f'`__{operator}__`')} needs its value"

    def refuse(self: Placeholder, *_: object) -> NoReturn:
        self._refuse(use)  # pyright: ignore[reportPrivateUsage]

    return refuse


for _operator in _NAMES.split():
    setattr(Placeholder, f"__{_operator}__", _refusing(_operator))
