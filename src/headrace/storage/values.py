"""Results of tasks as `Value`s: inline text where they are small, artifacts with a digest where they are not.

A tuple result, and a list or dict with members that JSON cannot hold, is stored member by member, so that a consumer
reads only what it was given.
"""

from __future__ import annotations

import base64
import copy
import mmap
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
import xxhash

from headrace.errors import CodecError, HeadraceError
from headrace.runs.facts import Value
from headrace.storage.cache import RecentValues
from headrace.storage.codecs import plain
from headrace.storage.codecs.choice import BY_NAME, PICKLE, codec_for
from headrace.storage.codecs.codec import Codec

INLINE_LIMIT_BYTES = 8192
_TUPLE_LIMIT = 64  # longer tuples are data, not `tuple[A, B]` results
_MEMBERS_LIMIT = 1000  # each member that is a file costs an fsync, 0.6 ms
_DEPTH_LIMIT = 20
_CACHE_LIMIT_BYTES = 256 * 1024 * 1024
_NESTED = ("tuple", "list", "dict")
_IMMUTABLE = (type(None), bool, int, float, str, bytes)
_ELEMENTLESS = frozenset((*_IMMUTABLE, dict))


class Files(Protocol):
    """Where artifacts lie: `storage.local.LocalStorage`, or another place with files."""

    def write(self, path: str, fill: Any) -> Path: ...
    def write_bytes(self, path: str, body: bytes) -> Path: ...
    def locate(self, path: str) -> Path: ...


class Values:
    """Encodes and decodes results for one process. Not for several threads at once.

    Without `allow_pickle` a value that has no codec of its own is refused instead of pickled, and no pickle is read.
    """

    def __init__(
        self,
        files: Files,
        *,
        allow_pickle: bool = True,
        inline_limit_bytes: int = INLINE_LIMIT_BYTES,
        cache_limit_bytes: int = _CACHE_LIMIT_BYTES,
    ) -> None:
        self._files = files
        self._allow_pickle = allow_pickle
        self._inline_limit_bytes = inline_limit_bytes
        self._recent = RecentValues(cache_limit_bytes)
        self._written: list[str] = []

    def encode(self, value: Any, *, prefix: str, what: str = "the value", levels: int = 1) -> Value:
        """Store a value; files get `prefix` and a suffix. `what` names it in errors: "the result of task 'train'".
        So many `levels` of maps go over it, and as deep its lengths are told.

        Raises `CodecError` where it cannot be stored, `StoreError` where the disk refuses; no file is left then.
        """
        self._written.clear()
        try:
            stored = self._encode(value, prefix, what, 0)
        except RecursionError:  # a list that holds itself, which only pickle can store
            self._take_back()
            stored = self._encode_pickle(value, prefix, what)
        except BaseException:
            self._take_back()
            raise
        lengths = shape_of(value, levels)
        return msgspec.structs.replace(stored, lengths=tuple(lengths)) if isinstance(lengths, list) else stored

    def decode(self, value: Value) -> Any:
        """The stored value. Each call gives an object of its own (boosters are shared), so a task may change it.

        Raises `CodecError` where the artifact is missing or damaged, or is a pickle and pickles are not allowed.
        """
        if value.codec in ("json", "json+"):
            return plain.decode(value.codec, value.body if value.body is not None else self._bytes(value))
        if value.codec in _NESTED:
            return self._decode_members(value)
        codec = self._codec(value)
        if value.body is not None:
            return codec.hand_out(base64.b64decode(value.body))
        loaded = self._recent.get(cast("str", value.path))
        if loaded is None:
            loaded = self._load(codec, value)
            self._recent.put(cast("str", value.path), loaded, value.size_bytes)
        return codec.hand_out(loaded)

    def decode_all(self, values: Sequence[Value]) -> list[Any]:
        """All of them; many small plain results at once, as the join after a map reads them."""
        if all(value.codec == "json" and value.body is not None for value in values):
            return plain.decode("json", f"[{','.join([value.body or '' for value in values])}]")
        return [self.decode(value) for value in values]

    def item(self, value: Value, *indices: int) -> Any:
        """The element at these indices, outermost first: of lists, tuples, arrays, series; rows of frames as dicts.

        Reads no more of the value than it must, and a list that many items ask for only once.
        """
        if value.codec in ("tuple", "list"):
            member = self._members(value)[indices[0]]
            return self.item(member, *indices[1:]) if len(indices) > 1 else self.decode(member)
        if value.codec in ("json", "json+", "pickle"):
            key = f"items {value.path or value.body}"
            found = self._recent.get(key)
            if found is None:
                found = self.decode(value)
                self._recent.put(key, found, value.size_bytes)
        else:
            found = self.decode(value)
        for index in indices:
            found = found.row(index, named=True) if hasattr(found, "row") else found[index]
        return found if type(found) in _IMMUTABLE else copy.deepcopy(found)

    def files(self, value: Value) -> Iterator[Value]:
        """The value and its members, as far as they are files. Raises `CodecError` where the list of members is damaged."""
        if value.path is not None:
            yield value
        if value.codec in _NESTED:
            members = [member for _, member in self._pairs(value)] if value.codec == "dict" else self._members(value)
            for member in members:
                yield from self.files(member)

    def damages(self, value: Value) -> Iterator[CodecError]:
        """What is wrong with the files of the value, and of its members; nothing is decoded but the list of these."""
        if value.path is not None:
            try:
                self._verified(value)
            except CodecError as error:
                yield error
                return
        if value.codec == "dict":
            for _, member in self._pairs(value):
                yield from self.damages(member)
        elif value.codec in _NESTED:
            for member in self._members(value):
                yield from self.damages(member)

    def _encode(self, value: Any, prefix: str, what: str, depth: int) -> Value:
        kind = cast("type[Any]", type(value))
        if kind is tuple and len(value) <= _TUPLE_LIMIT:
            return self._encode_members("tuple", value, prefix, what, depth)
        codec = codec_for(value)
        if codec is not None:
            return self._encode_file(codec, value, prefix, what)
        if kind.__module__ == "numpy" and kind.__name__ == "bool":
            value = bool(value)  # the one type that is not kept: `hr.when` reads a test without numpy
        text = plain.encode(value)
        if text is not None:
            return self._encode_text(*text, value, prefix)
        if kind in (list, tuple, dict) and len(value) <= _MEMBERS_LIMIT and _has_keys(value):
            return self._encode_members(kind.__name__, value, prefix, what, depth)
        return self._encode_pickle(value, prefix, what)

    def _encode_text(self, name: str, text: bytes, value: Any, prefix: str) -> Value:
        length = length_of(value)
        if len(text) <= self._inline_limit_bytes:
            return Value(name, text.decode(), None, len(text), "", length)
        path = f"{prefix}.json"
        self._put(path, text)
        return Value(name, None, path, len(text), _digest(text), length)

    def _encode_file(self, codec: Codec, value: Any, prefix: str, what: str) -> Value:
        if type(value) is bytes and len(value) * 4 <= self._inline_limit_bytes * 3:
            return Value(codec.name, body=base64.b64encode(value).decode("ascii"), size_bytes=len(value))
        path = prefix + codec.suffix
        try:
            target = self._files.write(path, lambda file: codec.write(value, file))
        except HeadraceError as error:
            if error.code == "HR1404" and self._allow_pickle:  # an estimator with a stranger inside
                return self._encode_pickle(value, prefix, what)
            raise
        except Exception as error:
            raise _unstorable(value, what, f"{type(error).__name__}: {error}") from error
        self._written.append(path)
        size_bytes, digest = _measure(target)
        return Value(codec.name, path=path, size_bytes=size_bytes, digest=digest, length=length_of(value))

    def _put(self, path: str, body: bytes) -> None:
        self._files.write_bytes(path, body)
        self._written.append(path)

    def _take_back(self) -> None:
        """Remove the members that were written before another one could not be."""
        for path in self._written:
            self._files.locate(path).unlink(missing_ok=True)

    def _encode_pickle(self, value: Any, prefix: str, what: str) -> Value:
        if not self._allow_pickle:
            raise _unstorable(value, what, "pickle is switched off (allow_pickle = false)")
        try:
            body = pickle.dumps(value, protocol=5)
        except Exception as error:
            raise _unstorable(value, what, str(error)) from error
        if len(body) * 4 <= self._inline_limit_bytes * 3:
            inline = base64.b64encode(body).decode("ascii")
            return Value(PICKLE.name, body=inline, size_bytes=len(body), length=length_of(value))
        path = prefix + PICKLE.suffix
        self._put(path, body)
        return Value(PICKLE.name, path=path, size_bytes=len(body), digest=_digest(body), length=length_of(value))

    def _encode_members(self, name: str, value: Any, prefix: str, what: str, depth: int) -> Value:
        if depth > _DEPTH_LIMIT:
            raise RecursionError
        members = value.values() if name == "dict" else value
        stored = [
            self._encode(member, f"{prefix}.{index}", f"member {index} of {what}", depth + 1)
            for index, member in enumerate(members)
        ]
        named: Any = list(zip(value, stored, strict=True)) if name == "dict" else stored
        index = self._encode_text(name, msgspec.json.encode(named), value, f"{prefix}.members")
        return msgspec.structs.replace(index, size_bytes=sum(member.size_bytes for member in stored))

    def _decode_members(self, value: Value) -> Any:
        if value.codec == "dict":
            return {key: self.decode(member) for key, member in self._pairs(value)}
        members = [self.decode(member) for member in self._members(value)]
        return tuple(members) if value.codec == "tuple" else members

    def _pairs(self, value: Value) -> list[tuple[str, Value]]:
        return msgspec.json.decode(self._index(value), type=list[tuple[str, Value]])

    def _members(self, value: Value) -> list[Value]:
        return msgspec.json.decode(self._index(value), type=list[Value])

    def _index(self, value: Value) -> str | bytes:
        return value.body if value.body is not None else self._bytes(value)

    def _codec(self, value: Value) -> Codec:
        codec = BY_NAME.get(value.codec)
        if codec is None:
            raise CodecError(
                f"this version of Headrace does not know the codec {value.codec!r}",
                where=value.path,
                cure="the value was stored by a newer one: pip install --upgrade headrace",
                code="HR1413",
            )
        if codec is PICKLE and not self._allow_pickle:
            raise CodecError(
                "this value is a pickle, and pickle is switched off (allow_pickle = false)",
                where=value.path,
                cure="return plain values, frames, arrays or models, and run the task again",
                code="HR1403",
            )
        return codec

    def _bytes(self, value: Value) -> bytes:
        """The verified bytes of a text artifact. Kept, because the next item of a map asks for them again."""
        key = f"bytes {value.path}"
        body = self._recent.get(key)
        if body is None:
            body = self._verified(value).read_bytes()
            self._recent.put(key, body, len(body))
        return body

    def _load(self, codec: Codec, value: Value) -> Any:
        path = self._verified(value)
        try:
            return codec.load(path)
        except HeadraceError:
            raise
        except Exception as error:
            raise _damaged(value, f"it has the digest it should have, but {type(error).__name__}: {error}") from error

    def _verified(self, value: Value) -> Path:
        if value.path is None:
            raise _damaged(value, "its row has neither text nor a path")
        path = self._files.locate(value.path)
        try:
            found = _measure(path)
        except FileNotFoundError:
            raise _damaged(value, "the file is gone") from None
        if found[1] != value.digest:
            raise _damaged(
                value, f"expected {value.size_bytes} bytes with {value.digest}, found {found[0]} bytes with {found[1]}"
            )
        return path


def length_of(value: Any) -> int | None:
    """What a map over the value expands to; None where it has no elements to map over (text, dicts, scalars)."""
    kind = cast("type[Any]", type(value))
    if isinstance(value, list | tuple):
        return len(cast("list[Any]", value))
    root = kind.__module__.partition(".")[0]
    if (root == "polars" and kind.__name__ in ("DataFrame", "Series")) or (
        root == "numpy" and getattr(value, "ndim", 0)
    ):
        return len(value)
    return None


def shape_of(value: Any, levels: int) -> int | list[Any] | None:
    """What a map over the value expands to, and where it is to be told deeper than one level, a list of the same of
    its elements. A length where no element has elements, None where the value has none.

    >>> shape_of([[[1, 2], [3]], []], 2), shape_of([[[1, 2], [3]], []], 3)
    ([2, 0], [[2, 1], 0])
    """
    length = length_of(value)
    if length is None or levels < 2 or hasattr(value, "row"):  # the rows of a frame are dicts
        return length
    items: Any = value if isinstance(value, list | tuple) else iter(value)
    if isinstance(value, list | tuple) and _ELEMENTLESS.issuperset(map(type, cast("list[Any]", value))):
        return length
    shapes = [shape_of(item, levels - 1) for item in items]
    return length if shapes.count(None) == length else shapes


def _has_keys(value: Any) -> bool:
    """Whether the members can be listed by their keys: those of a dict are texts without a lone surrogate."""
    if type(value) is not dict:
        return True
    keys = list(cast("dict[Any, Any]", value))
    if any(type(key) is not str for key in keys):
        return False
    try:
        "".join(keys).encode()
    except UnicodeEncodeError:
        return False
    return True


def _digest(body: Any) -> str:
    # Against damage, not against an attacker: 16 GB/s, so 100 MB cost 6 ms.
    return f"xxh3:{xxhash.xxh3_128_hexdigest(body)}"


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        size_bytes = path.stat().st_size
        if size_bytes <= 65_536:
            return size_bytes, _digest(file.read())
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as body:
            return size_bytes, _digest(body)


def _unstorable(value: Any, what: str, why: str) -> CodecError:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    cure = "return plain values (numbers, text, lists, dicts), polars frames, numpy arrays or a model"
    if name in ("generator", "map", "filter", "zip", "async_generator", "coroutine"):
        cure = "return a list of its items"
    return CodecError(f"{what} is a {name}, which cannot be stored: {why}", cure=cure, code="HR1401")


def _damaged(value: Value, why: str) -> CodecError:
    return CodecError(
        f"this artifact cannot be read: {why}",
        where=value.path,
        cure="start a new run: a retry reads this file again; and look at the disk",
        code="HR1410",
    )
