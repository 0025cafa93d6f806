"""Artifacts in a folder of this machine: each written once under its own name, and on disk before it is reported."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Container
from functools import lru_cache
from pathlib import Path

from headrace.errors import CodecError, StoreError

_SAFE = re.compile(r"[a-z0-9_-][a-z0-9_.-]{0,79}")
_UNSAFE = re.compile(r"[^a-z0-9_-]+")


@lru_cache(4096)  # the same few tasks, 30,000 times a second
def safe_name(name: str) -> str:
    """A file name for any text: itself where that is safe everywhere, else its readable part and a hash.

    Capitals count as unsafe, because macOS takes `Load` and `load` for one file.

    >>> safe_name("train"), safe_name("a/b")
    ('train', 'a_b-0debd2558bca8fa0')
    """
    if _SAFE.fullmatch(name):
        return name
    shown = _UNSAFE.sub("_", name.lower())[:40].strip("_")
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{shown}-{digest}" if shown else digest


def attempt_prefix(run: str, task: str, path: str, item: int, attempt: int, epoch: int) -> str:
    """Where an attempt puts what it makes: `<run>/<task>/<item>/<attempt>-<epoch>`, shared with no other attempt.

    >>> attempt_prefix("18k0deg00007", "train", "3.0", 5, 1, 2)
    '18k0deg00007/train/3.0.5/1-2'
    """
    where = f"{path}.{item}" if path else str(item)
    return f"{safe_name(run)}/{safe_name(task)}/{where}/{attempt}-{epoch}"


class LocalStorage:
    """Files below one root. Paths given and taken are relative to it, with `/`."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()  # a task may change the working directory
        self._known: set[Path] = set()

    def write(self, path: str, fill: Callable[[Path], None]) -> Path:
        """Let `fill` write the file, then fsync it and its folder. Nothing is left behind when that fails.

        Raises `StoreError` where the name is taken (a second writer of one attempt) or the disk refuses.
        """
        target = self.locate(path)
        try:
            self._make_folder(target.parent)
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except OSError as error:
            raise _refused(error, path) from error
        try:
            fill(target)
            _fsync(target)
            _fsync(target.parent)
        except BaseException as error:
            target.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise _refused(error, path) from error
            raise
        return target

    def write_bytes(self, path: str, body: bytes) -> Path:
        return self.write(path, lambda target: _write_all(target, body))

    def locate(self, path: str) -> Path:
        """The absolute path. Raises `CodecError` for one that leads outside the root."""
        parts = path.split("/")
        if path.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in path:
            raise CodecError(
                f"{path!r} is not the path of an artifact: expected names separated by '/'",
                cure="the row that names it is damaged: headrace doctor",
                code="HR1412",
            )
        return self.root.joinpath(*parts)

    def prune(self, prefix: str, kept: Container[str]) -> None:
        """Delete all files below the folder of that name but those that are kept, and the folders that are empty then.

        What is gone already is no error. Raises `StoreError` where the disk refuses.
        """
        target = self.locate(prefix)
        if not target.is_dir():
            return
        try:
            for path in sorted((target, *target.rglob("*")), reverse=True):  # what lies in a folder before the folder
                if path.is_dir():
                    if not any(path.iterdir()):
                        path.rmdir()
                elif path.relative_to(self.root).as_posix() not in kept:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise _refused(error, prefix) from error
        self._known = {folder for folder in self._known if target not in (folder, *folder.parents)}

    def settle(self) -> None:
        """What was deleted is gone for good, also after a power failure."""
        if self.root.is_dir():
            try:
                _fsync(self.root)
            except OSError as error:
                raise _refused(error, str(self.root)) from error

    def _make_folder(self, folder: Path) -> None:
        # A new folder is durable once the one that holds it is fsynced.
        if folder in self._known:
            return
        missing = [part for part in (folder, *folder.parents) if not part.exists()]
        for part in reversed(missing):
            part.mkdir(exist_ok=True)
            _fsync(part.parent)
        self._known.add(folder)


def _write_all(target: Path, body: bytes) -> None:
    with target.open("wb") as file:
        file.write(body)


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _refused(error: OSError, path: str) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError("the disk is full", where=path, cure="free some space, then retry the run", code="HR4020")
    if error.errno == errno.EEXIST:
        return StoreError(
            "an artifact of this name exists: two processes work on one attempt",
            where=path,
            cure="the engine that started the older one is gone: headrace doctor",
            code="HR4021",
        )
    return StoreError(f"the disk refuses the artifact: {error}", where=path, cure="see dmesg", code="HR4022")
