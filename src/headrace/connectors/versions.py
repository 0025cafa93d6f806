"""Versions of models: loaded, checked against golden rows, and scored by their own `predict` in their own code."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl
import xxhash
from numpy.typing import NDArray

from headrace.connectors.holdings import Holdings, VersionRow
from headrace.connectors.predicting import PREDICTION, find, predictions
from headrace.connectors.scorer import Request, main_command
from headrace.errors import CodecError, RefusedError
from headrace.runs.facts import Value

if TYPE_CHECKING:
    from headrace.connectors.predicting import Predict

GOLDEN_ROWS = 200
GOLDEN_TOLERANCE = 1e-6


def load_version(holdings: Holdings, row: VersionRow, *, check: bool = True) -> tuple[Any, Predict]:
    """The model and its `predict`, in this process, which serves the version's code or one that still has the function.

    With `check` its golden rows must come out as they did when it was registered. Raises `CodecError` for a damaged
    file, `NotFoundError` without the function, `RefusedError` (HR3041) where the predictions differ.
    """
    model = holdings.load_model(row)
    predict = find(row.predict)
    if check:
        check_golden(holdings, row, model, predict)
    return model, predict


def write_golden(holdings: Holdings, rows: pl.DataFrame, predicted: NDArray[np.float64], prefix: str) -> str:
    """Keep evenly spaced rows with their predictions; the path, which carries the digest."""
    step = max(1, len(rows) // GOLDEN_ROWS)
    chosen = rows.with_columns(pl.Series(PREDICTION, predicted)).gather_every(step).head(GOLDEN_ROWS)
    body = io.BytesIO()
    chosen.write_ipc(body, compression="zstd")
    path = f"{prefix}.golden-{xxhash.xxh3_128_hexdigest(body.getbuffer())}.arrow"
    holdings.files.write_bytes(path, body.getvalue())
    return path


def check_golden(holdings: Holdings, row: VersionRow, model: Any, predict: Predict) -> None:
    """Raises `RefusedError` (HR3041) where the model does not say of its golden rows what it said when registered."""
    if row.golden is None:
        return
    name = f"version {row.version} of {row.model}"
    kept = _golden(holdings, row.golden)
    expected = kept[PREDICTION].to_numpy()
    rows = kept.drop(PREDICTION)
    said = predictions(predict, model, rows, name)
    away = np.abs(said - expected) > GOLDEN_TOLERANCE * (1.0 + np.abs(expected))
    if away.any():
        first = int(np.argmax(away))
        raise RefusedError(
            f"{name} says something else than when it was registered: {int(away.sum())} of {len(rows)} golden rows, "
            f"the first {said[first]:.6g} instead of {expected[first]:.6g}",
            where=row.predict,
            cure="the code or a library has changed: roll back to a version that passes, or train again",
            code="HR3041",
        )


def score(holdings: Holdings, row: VersionRow, rows: pl.DataFrame) -> NDArray[np.float64]:
    """What a version says of the rows, by its own `predict` in its own code: in another process where that differs.

    Where there is no copy of that code (it is gone, or the version comes from a script) this process's own is taken,
    which the golden rows must bear out. Raises whatever loading or predicting raises; `RefusedError` (HR3042) with the
    last line of the other process.
    """
    code = holdings.code_folder / row.code
    if row.code == holdings.code or not code.is_dir():
        model, predict = load_version(holdings, row)
        return predictions(predict, model, rows, f"version {row.version} of {row.model}")
    with tempfile.TemporaryDirectory(prefix="headrace-score-") as folder:
        return _score_aside(holdings, row, rows, code, Path(folder))


def _score_aside(
    holdings: Holdings, row: VersionRow, rows: pl.DataFrame, code: Path, folder: Path
) -> NDArray[np.float64]:
    given, result = folder / "rows.arrow", folder / "predictions.npy"
    rows.write_ipc(given, compression="uncompressed")
    request = Request(
        code=str(code),
        root=str(holdings.files.root),
        model=Value(row.codec, None, row.path, row.size_bytes, row.digest),
        predict=row.predict,
        rows=str(given),
        result=str(result),
        name=f"version {row.version} of {row.model}",
        allow_pickle=holdings.allow_pickle,
    )
    # In the process group of this worker, so a timeout of the attempt ends it too.
    done = subprocess.run(main_command(), input=msgspec.json.encode(request), capture_output=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        why = lines[-1] if lines else f"its process ended with {done.returncode}"
        raise RefusedError(why, where=f"{row.predict} in code {row.code}", code="HR3042")
    sys.stderr.write(done.stderr.decode(errors="replace"))
    return np.load(result, allow_pickle=False)


def _golden(holdings: Holdings, path: str) -> pl.DataFrame:
    body = holdings.files.locate(path).read_bytes()
    if f".golden-{xxhash.xxh3_128_hexdigest(body)}." not in path:
        raise CodecError(
            "the golden rows are not those that were written",
            where=path,
            cure="the artifact is damaged: restore it from a copy, or train again",
            code="HR1410",
        )
    return pl.read_ipc(io.BytesIO(body))
