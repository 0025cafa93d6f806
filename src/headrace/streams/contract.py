"""What a stream promises about rows: `each`, `some` or `any`, checked on every batch."""

from __future__ import annotations

import polars as pl

from headrace.errors import HeadraceError

_SHOWN_CHARS = 160


class ContractError(HeadraceError):
    """The output of a batch is not what `rows=` promises. The stream stops: no row is guessed to be at fault."""

    code = "HR6100"


def filtered(rows: str, key: str | None, batch: pl.DataFrame, out: pl.DataFrame) -> int:
    """How many input rows were left out on purpose. Raises `ContractError` where the promise is broken.

    "each": output row i belongs to input row i, so the lengths are equal, and the keys where the output has them.
    "some": the output is a subset, by the key that it must keep. "any": nothing is promised, and the result may be
    below zero where more rows came out than went in.
    """
    gone = len(batch) - len(out)
    if rows == "any":
        return gone
    keys = None if key is None or key not in out.columns else (_texts(batch, key), _texts(out, key))
    if rows == "each":
        if gone != 0:
            raise _broken(
                f'rows="each" promises {len(batch)} rows for {len(batch)}, the function gave {len(out)}', batch, out
            )
        if keys is not None and not keys[0].equals(keys[1]):
            raise _broken(f'rows="each" promises row i for row i, but the keys {key!r} are not the same', batch, out)
        return 0
    if key is not None and keys is None:
        raise _broken(f'rows="some" keeps the key {key!r}, and the output has no such column', batch, out)
    if gone < 0 or (keys is not None and not _is_subset(*keys)):
        raise _broken('rows="some" promises a subset, and the output has rows that did not go in', batch, out)
    return gone


def _texts(frame: pl.DataFrame, key: str) -> pl.Series:
    return frame[key].cast(pl.String)


def _is_subset(keys: pl.Series, kept: pl.Series) -> bool:
    had = pl.DataFrame({"key": keys}).group_by("key").len()
    has = pl.DataFrame({"key": kept}).group_by("key").len()
    both = has.join(had, on="key", how="left", nulls_equal=True, suffix="_in")
    return bool((both["len"] <= both["len_in"].fill_null(0)).all())


def _broken(why: str, batch: pl.DataFrame, out: pl.DataFrame) -> ContractError:
    shown = "; ".join(f"{what}: {_row(frame)}" for what, frame in (("in", batch), ("out", out)) if len(frame))
    return ContractError(
        f"{why}; first row {shown}", cure='keep the rows as promised, or declare rows="some" or rows="any"'
    )


def _row(frame: pl.DataFrame) -> str:
    """The first row in words; a long one is cut."""
    text = ", ".join(f"{name} {value}" for name, value in frame.row(0, named=True).items())
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
