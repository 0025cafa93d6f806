"""Where a store lies and which one it is: remembered beside it, so that a copy is told from the original."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from headrace.errors import RefusedError

FILE = "place.json"
_MACHINE_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))

Claim = Literal["moved", "copied"]
"""What the user says of a folder that is not where it was: the same one elsewhere, or one more."""


class Whereabouts(msgspec.Struct, frozen=True):
    """`store` is the identity of the store; the rest is where its folder lies. `machine` is "" where it has no id."""

    store: str
    inode: int
    path: str
    machine: str


def whereabouts(home: Path, store: str) -> Whereabouts:
    """Where the folder `home` lies now."""
    return Whereabouts(store, home.stat().st_ino, str(home.resolve()), _machine())


def remembered(home: Path) -> Whereabouts | None:
    """What was remembered; None before the first time. Raises RefusedError (HR3051) where it cannot be read."""
    try:
        return msgspec.json.decode((home / FILE).read_bytes(), type=Whereabouts)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise RefusedError(
            f"the file that says where this store lies cannot be read: {error}",
            where=str(home / FILE),
            cure="delete it, if this folder is neither moved nor copied",
            code="HR3051",
        ) from error


def remember(home: Path, store: str) -> Whereabouts:
    """Write down that the store of this identity lies here."""
    now = whereabouts(home, store)
    scratch = home / f"{FILE}.{os.getpid()}.new"
    scratch.write_bytes(msgspec.json.encode(now) + b"\n")
    scratch.replace(home / FILE)
    return now


def settle(home: Path, claim: Claim | None, new_id: str) -> Whereabouts:
    """Make sure that the folder is where it was, or is what the user claims; returns where it lies from now on.

    The first time it is written down, with `new_id` as the identity of the store; "copied" gives it as well, "moved"
    keeps the one it has. Raises RefusedError (HR3051), naming what differs, where nothing is claimed.
    """
    then = remembered(home)
    now = whereabouts(home, new_id if then is None or claim == "copied" else then.store)
    if then is not None and claim is None and (differs := differences(then, now)):
        raise RefusedError(
            f"this project's state was made elsewhere: {'; '.join(differs)}",
            where=str(home),
            cure="headrace dev --moved where the old folder is gone; headrace dev --copied where both go on",
            code="HR3051",
        )
    return now if now == then else remember(home, now.store)


def differences(then: Whereabouts, now: Whereabouts) -> list[str]:
    """What is not as it was, in words. A machine without an id is not compared.

    >>> differences(Whereabouts("s", 7, "/a/.headrace", "m"), Whereabouts("s", 7, "/b/.headrace", ""))
    ['the path was /a/.headrace']
    """
    found: list[str] = []
    if then.path != now.path:
        found.append(f"the path was {then.path}")
    if then.inode != now.inode:
        found.append(f"the folder is another one (inode {now.inode}, was {then.inode})")
    if then.machine and now.machine and then.machine != now.machine:
        found.append("the machine is another one")
    return found


def _machine() -> str:
    for file in _MACHINE_FILES:
        try:
            text = file.read_text().strip()
        except OSError:  # no such file, or not for us: then the machine has no id
            continue
        if text:
            return text
    return ""
