"""Every error a user can meet. A message says what was expected, what came, where, and what to do next.

HeadraceError
├── ProjectError            HR1xxx  a mistake in the user's project, found by `headrace check` or while loading
│   ├── GraphError          HR11xx  a pipeline body that cannot become a graph
│   ├── SchemaError         HR12xx  a row, column or value that does not fit what was declared
│   ├── SettingsError       HR13xx  headrace.toml, an environment variable or a flag
│   └── CodecError          HR14xx  a value that cannot be stored, or an artifact that cannot be read
├── NotFoundError           HR2xxx  a run, pipeline, dataset, version … that does not exist
├── RefusedError            HR3xxx  a request that is understood and not allowed now (wrong state, stale evidence, a test on the real store)
│   └── SupersededError     HR31xx  another writer owns this log: this process must stop acting
├── StoreError              HR4xxx  the database: version, disk, corruption, a holder that does not let go
│   ├── DisagreementError   HR4060  a fact and the rows disagree: whoever decided believes what is not so
│   └── ConflictError       HR4061  another writer was faster: read again and decide again
├── EngineUnavailableError  HR5xxx  nothing listens: no engine, a port in use, a process that does not start
├── RunFailedError          HR6xxx  a run ended without success
└── MissingExtraError       HR7xxx  an optional dependency is not installed
"""

from __future__ import annotations

from typing import Any


class HeadraceError(Exception):
    """Base of all errors raised on purpose.

    `code` is stable and documented; `where` is `file:line`, a setting, a run or a topic; `cure` is the next step.
    """

    code: str = "HR0000"
    exit_code: int = 1

    def __init__(
        self, message: str, *, where: str | None = None, cure: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.cure = cure
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head}\n  {self.cure}" if self.cure else head

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders; keyword-only arguments do not survive the default pickling.
        return (_rebuild, (type(self), self.message, self.where, self.cure, self.code))


def _rebuild(kind: type[HeadraceError], message: str, where: str | None, cure: str | None, code: str) -> HeadraceError:
    return kind(message, where=where, cure=cure, code=code)


class ProjectError(HeadraceError):
    code = "HR1000"
    exit_code = 2


class GraphError(ProjectError):
    code = "HR1100"


class SchemaError(ProjectError):
    code = "HR1200"


class SettingsError(ProjectError):
    code = "HR1300"


class CodecError(ProjectError):
    code = "HR1400"


class NotFoundError(HeadraceError):
    code = "HR2000"
    exit_code = 3


class RefusedError(HeadraceError):
    code = "HR3000"
    exit_code = 4


class SupersededError(RefusedError):
    code = "HR3100"


class StoreError(HeadraceError):
    code = "HR4000"
    exit_code = 6


class DamagedError(StoreError):
    """What was read is not what was written. Trying again does not help; whatever needs it stops, the rest goes on."""

    code = "HR4040"


class DisagreementError(StoreError):
    """A fact does not fit the rows. Nothing was written; the writer must read the rows before it decides again."""

    code = "HR4060"


class ConflictError(StoreError):
    """A number that is given out in order (a version) went to another writer. Nothing was written."""

    code = "HR4061"


class EngineUnavailableError(HeadraceError):
    code = "HR5000"
    exit_code = 5


class RunFailedError(HeadraceError):
    """A run ended without success. `run` is the run, where it happened in this process: its values can be looked at."""

    run: Any = None
    code = "HR6000"
    exit_code = 1


class MissingExtraError(HeadraceError):
    """An optional dependency is missing.

    >>> str(MissingExtraError("lightgbm", extra="lightgbm"))
    'lightgbm is not installed\\n  pip install "headrace[lightgbm]"'
    """

    code = "HR7000"
    exit_code = 2

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(f"{package} is not installed", cure=f'pip install "headrace[{extra}]"')
        self.package, self.extra = package, extra

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_extra, (self.package, self.extra))


def _rebuild_extra(package: str, extra: str) -> MissingExtraError:
    return MissingExtraError(package, extra=extra)
