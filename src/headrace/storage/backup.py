"""What a backup consists of: files, and the manifest that says what each of them must be. Without it there is no backup."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import xxhash

from headrace.errors import StoreError

MANIFEST = "manifest.json"
FORMAT = 1
_CHUNK_BYTES = 1 << 20


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """A file of a backup; `path` is relative to its folder, and to `.headrace` in a project."""

    path: str
    size_bytes: int
    digest: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds. `store` is the identity of the store, `heads` the last fact of each log in it.

    `damaged` says in words which files were not as they had been written when they were copied.
    """

    format: int
    headrace: str
    project: str
    store: str
    made_us: int
    heads: dict[str, int]
    files: tuple[Kept, ...]
    damaged: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


class _Sealed(msgspec.Struct, frozen=True):
    digest: str
    manifest: msgspec.Raw


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make a backup of the files that lie in the folder: the last step. Raises StoreError where the disk refuses."""
    body = msgspec.json.encode(manifest)
    target = folder / MANIFEST
    scratch = target.with_suffix(".new")
    try:
        write(scratch, msgspec.json.encode(_Sealed(_digest_of(body), msgspec.Raw(body))) + b"\n")
        scratch.replace(target)
        fsync_folder(folder)
    except OSError as error:
        raise refused(error, str(target)) from error


def read_manifest(folder: Path) -> Manifest:
    """Raises StoreError (HR4042) where there is none, or where it is not what was written."""
    try:
        sealed = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Sealed)
        manifest = msgspec.json.decode(sealed.manifest, type=Manifest)
    except FileNotFoundError:
        raise not_whole(folder, f"it has no {MANIFEST}, which is written last: it was not finished") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise not_whole(folder, f"its {MANIFEST} cannot be read: {error}") from error
    if _digest_of(bytes(sealed.manifest)) != sealed.digest:
        raise not_whole(folder, f"its {MANIFEST} is not what was written")
    if any(file.path.startswith("/") or ".." in file.path.split("/") for file in manifest.files):
        raise not_whole(folder, f"its {MANIFEST} names a path outside of it")
    if manifest.format != FORMAT:
        raise StoreError(
            f"this backup has the format {manifest.format}; this version of Headrace knows {FORMAT}",
            where=str(folder),
            cure=f"restore it with the version that made it:  pip install headrace=={manifest.headrace}",
            code="HR4010",
        )
    return manifest


def damages(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Files that are gone or are not what was copied."""
    for file in manifest.files:
        path = folder / file.path
        try:
            with path.open("rb") as source:
                found = _measure(source)
        except FileNotFoundError:
            yield f"{file.path} is gone"
            continue
        except OSError as error:
            yield f"{file.path} cannot be read: {error.strerror}"
            continue
        if found != (file.size_bytes, file.digest):
            yield f"{file.path} is not what was copied"


def copy_file(source: Path, target: Path, name: str) -> Kept:
    """Copy a file as it is now; `name` is what the manifest calls it. It is on the disk when this returns.

    `target` appears whole. Raises FileNotFoundError where there is no source, StoreError where the target's disk refuses.
    """
    with source.open("rb") as body:
        scratch = target.with_name(f"{target.name}.new")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with scratch.open("wb") as copy:
                shutil.copyfileobj(body, copy, _CHUNK_BYTES)
                copy.flush()
                os.fsync(copy.fileno())
            with scratch.open("rb") as copy:
                size_bytes, digest = _measure(copy)
            scratch.replace(target)
        except OSError as error:
            scratch.unlink(missing_ok=True)
            raise refused(error, str(target)) from error
    return Kept(name, size_bytes, digest)


def write(target: Path, body: bytes) -> None:
    """Write a new file; its bytes are on the disk when this returns. Raises OSError."""
    with target.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def measured(path: Path, name: str) -> Kept:
    """A file that lies in the backup already."""
    with path.open("rb") as body:
        return Kept(name, *_measure(body))


def fsync_folders(root: Path, paths: Iterator[str]) -> None:
    """Make sure that files of these relative paths are found again: each folder on their way is on the disk."""
    folders = {root}
    for path in paths:
        folders.update(root.joinpath(path).parents)
    for folder in folders:
        if folder.is_relative_to(root):
            fsync_folder(folder)


def fsync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def not_whole(folder: Path, why: str) -> StoreError:
    """A folder that is no backup, or no longer."""
    return StoreError(
        f"this is not a whole backup: {why}", where=str(folder), cure="restore another one", code="HR4042"
    )


def refused(error: OSError, path: str) -> StoreError:
    """What a disk says that takes no backup, in plain words: HR4020 where it is full, else HR4080."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            "the disk is full", where=path, cure="free some space there, or name another disk", code="HR4020"
        )
    return StoreError(
        f"the disk refused to read or write ({error})",
        where=path,
        cure="look at the folder's rights, and at the system's log for disk errors",
        code="HR4080",
    )


def _measure(file: BinaryIO) -> tuple[int, str]:
    found, size_bytes = xxhash.xxh3_128(), 0
    while chunk := file.read(_CHUNK_BYTES):
        found.update(chunk)
        size_bytes += len(chunk)
    return size_bytes, f"xxh3:{found.hexdigest()}"


def _digest_of(body: bytes) -> str:
    return f"xxh3:{xxhash.xxh3_128_hexdigest(body)}"
