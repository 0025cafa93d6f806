"""`python -m headrace.connectors.scorer`: one version scores rows in a process of its own, in its own code.

The request comes as JSON on standard input; rows and predictions are files. The last line of standard error says what
went wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from headrace.runs.facts import Value


class Request(msgspec.Struct, frozen=True):
    """Score the Arrow file `rows` with `predict` of the code copied to `code`; write float64 `.npy` to `result`.

    `root` is the folder of artifacts that holds the model.
    """

    code: str
    root: str
    model: Value
    predict: str
    rows: str
    result: str
    name: str
    allow_pickle: bool = True


def main_command() -> list[str]:
    return [sys.executable, "-m", "headrace.connectors.scorer"]


def answer(request: Request) -> None:
    """Do what the request says. Raises whatever loading or predicting raises."""
    sys.path.insert(0, request.code)
    import numpy as np
    import polars as pl

    from headrace.connectors.predicting import find, predictions
    from headrace.storage.local import LocalStorage
    from headrace.storage.values import Values

    predict = find(request.predict)
    model = Values(LocalStorage(Path(request.root)), allow_pickle=request.allow_pickle).decode(request.model)
    rows = pl.scan_ipc(request.rows, glob=False).collect()
    np.save(request.result, predictions(predict, model, rows, request.name), allow_pickle=False)


def main() -> int:
    try:
        answer(msgspec.json.decode(sys.stdin.buffer.read(), type=Request))
    except Exception as error:
        message = str(error).replace("\n", " ")
        sys.stderr.write(f"{type(error).__name__}: {message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
