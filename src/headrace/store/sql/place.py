"""Where a database may lie: on a local disk. Network file systems lose locks and shared memory, so they are refused."""

from __future__ import annotations

from pathlib import Path

from headrace.errors import StoreError

_REMOTE = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "fuse.", "davfs")


def refuse_remote(path: Path, mounts: str | None = None) -> None:
    """Raise StoreError (HR4070) where `path` lies on a network file system. `mounts` is the text of /proc/mounts."""
    kind = file_system(path, _mounts() if mounts is None else mounts)
    if kind is not None and kind.startswith(_REMOTE):
        raise StoreError(
            f"the store lies on a network file system ({kind}), where locks cannot be trusted",
            where=str(path),
            cure="put the project's .headrace folder on a local disk:  HEADRACE_HOME=/some/local/folder",
            code="HR4070",
        )


def file_system(path: Path, mounts: str) -> str | None:
    """The type of the file system that holds `path`, by the longest mount point above it; None where unknown."""
    place = path.resolve()
    best, kind = -1, None
    for line in mounts.splitlines():
        words = line.split()
        if len(words) < 3:
            continue
        # The kernel writes blanks in mount points as octal escapes.
        point = Path(words[1].replace("\\040", " "))
        if len(point.parts) >= best and place.is_relative_to(point):
            best, kind = len(point.parts), words[2]
    return kind


def _mounts() -> str:
    try:
        return Path("/proc/mounts").read_text()
    except OSError:  # macOS has no such list; SQLite's own checks are all there is
        return ""
