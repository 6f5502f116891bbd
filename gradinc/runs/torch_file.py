"""A safe reader of files written by ``torch.save``.

The file is a ZIP archive of a pickle and of the tensors' storages. A pickle is a program: a few bytes can request
gigabytes, a list that contains itself 2⁴⁰ times, or any function. ``torch.load(weights_only=True)`` restricts the
functions, but not their sizes. Here the opcodes are read one by one and nothing is called: only the opcodes of plain
data are allowed, and a tensor is built only if its storage has the length that the tensor declares. The result needs
no more memory than a small multiple of the file's bytes.
"""

from __future__ import annotations

import io
import math
import pickletools
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

PIECE = 1 << 20
"""Bytes of a storage that are read at a time."""

DTYPES = {
    "torch DoubleStorage": torch.float64,
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
    "torch ComplexDoubleStorage": torch.complex128,
    "torch ComplexFloatStorage": torch.complex64,
}
"""Dtypes of tensors, by the global of their storage."""

REBUILD, ORDERED = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
"""The only allowed functions: they build a strided tensor from its storage, and an empty dict."""

SCALARS = {str, int, float, bool, type(None)}
"""Types of simple values besides tensors."""

DEEPEST = 64
"""Largest depth of nested containers; a run saves a dozen levels."""

MOST_STEPS = 1 << 23
"""Largest number of opcodes; two matrices of a thousand tasks have a quarter of it."""

MOST_CONTAINERS = 1 << 18
"""Largest number of lists, dicts and tuples: an empty one takes a hundred times its byte in the file."""

LONGEST_TEXT = 1 << 16
"""Largest number of characters in a text; names of weights have a hundred."""

MOST_BITS = 64
"""Largest number of bits of a whole number, without its sign."""

TIMES = 8
"""Largest size of all tensors together as a multiple of the file's bytes, each counted at every appearance."""

SPENT = 1 << 12
"""Additional bytes and values that a small file may have."""


class Refused(ValueError):
    """Content that is not plain data or tensors; the text describes it."""


def plain(value: Any, where: str) -> Any:
    """Return a value as `load_file` reads it: shared parts written out, subclasses as their base types.

    Args:
        where: its name in the file.

    Raises:
        Refused: a value in it has a type that a file cannot contain.
    """
    if isinstance(value, Tensor):
        if value.layout is not torch.strided or value.is_meta or value.dtype not in DTYPES.values():
            raise Refused(f"{where} is a tensor of {value.dtype} ({value.layout}, {value.device}), which is not saved")
        value = value.detach().resolve_conj().resolve_neg()
        return value if _has_every_value_once(value.shape, value.stride()) else value.contiguous()
    if isinstance(value, dict):
        kind = OrderedDict if isinstance(value, OrderedDict) else dict
        made = kind((key, plain(item, f"{where}.{key}")) for key, item in value.items())
        if isinstance(made, OrderedDict) and hasattr(value, "_metadata"):
            made._metadata = value._metadata  # type: ignore[attr-defined]  # of a model's state_dict
        return made
    if isinstance(value, list | tuple):
        if set(map(type, value)) <= SCALARS:  # such as a row of a matrix
            return list(value) if isinstance(value, list) else tuple(value)
        items = (plain(item, f"{where}.{number}") for number, item in enumerate(value))
        return list(items) if isinstance(value, list) else tuple(items)
    if type(value) in SCALARS:
        return value
    raise Refused(f"{where} is a {type(value).__name__}, which is not saved")


def load_file(content: io.BytesIO, device: torch.device | str = "cpu") -> Any:
    """Return the content of a file: dicts, lists, tuples, text, numbers, None and dense tensors.

    Args:
        content: all of the file.
        device: device of the tensors.

    Raises:
        Refused: it has other content, or more values than bytes.
        Exception: the file has other content; ``zipfile``, ``pickletools`` and this module raise many kinds.
    """
    size = content.getbuffer().nbytes
    with zipfile.ZipFile(content) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts) or sum(p.file_size for p in parts) > size:
            raise Refused("its parts are compressed, or longer than the file")
        (program,) = (part for part in parts if part.filename.endswith("/data.pkl"))
        folder = program.filename.removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order) != sys.byteorder.encode():
            raise Refused("it was written in another byte order")
        pickle = archive.read(program)
        root = _Machine(archive, f"{folder}data/", torch.device(device)).run(pickle)
    _, values, extent = _measured(root, {}, 0)
    if values > len(pickle) + SPENT or extent > TIMES * size + SPENT:
        raise Refused("it has more values than bytes")
    return root


class _Storage:
    """The values of some tensors, shape (n,)."""

    def __init__(self, values: Tensor) -> None:
        self.values = values


class _Machine:
    """Builds the value of a pickle.

    Args:
        folder: the folder of the storages in the archive.
    """

    def __init__(self, archive: zipfile.ZipFile, folder: str, device: torch.device) -> None:
        self._archive, self._folder, self._device = archive, folder, device
        self._storages: dict[tuple[str, torch.dtype], _Storage] = {}
        self._stack: list[Any] = []
        self._marks: list[int] = []

    def run(self, pickle: bytes) -> Any:
        """Return the only value that is left at the end."""
        stack, memo = self._stack, dict[int, Any]()
        containers = 0
        given: Any
        for step, (opcode, given, _) in enumerate(pickletools.genops(pickle)):
            name = opcode.name
            if name in ("EMPTY_DICT", "EMPTY_LIST", "REDUCE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
                containers += 1
            if step > MOST_STEPS or containers > MOST_CONTAINERS:
                raise Refused("it has too many parts")
            match name:
                case "BINPUT" | "LONG_BINPUT":
                    memo[given] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[given])
                case "BINUNICODE":
                    if len(given) > LONGEST_TEXT:
                        raise Refused("it has a text that is too long")
                    stack.append(given)
                case "BININT" | "BININT1" | "BININT2" | "LONG1":
                    if given.bit_length() > MOST_BITS:
                        raise Refused("it has a number that is too long")
                    stack.append(given)
                case "BINFLOAT":
                    stack.append(given)
                case "NONE" | "NEWTRUE" | "NEWFALSE":
                    stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
                case "MARK":
                    self._marks.append(len(stack))
                case "EMPTY_DICT":
                    stack.append({})
                case "EMPTY_LIST":
                    stack.append([])
                case "EMPTY_TUPLE":
                    stack.append(())
                case "TUPLE":
                    stack.append(tuple(self._marked()))
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    stack.append(tuple(self._taken(int(name[-1]))))
                case "APPEND" | "APPENDS":
                    items = self._marked() if name == "APPENDS" else self._taken(1)
                    self._top(list).extend(items)
                case "SETITEM" | "SETITEMS":
                    items = self._marked() if name == "SETITEMS" else self._taken(2)
                    self._fill(self._top(dict, OrderedDict), items)
                case "GLOBAL":
                    stack.append(_known(given))
                case "BINPERSID":
                    stack.append(self._storage(*self._taken(1)[0]))
                case "REDUCE":
                    function, arguments = self._taken(2)
                    stack.append(self._called(function, arguments))
                case "BUILD":  # the versions of a model's modules, an attribute of its dict of weights
                    (state,) = self._taken(1)
                    self._top(OrderedDict)._metadata = state["_metadata"]
                    if len(state) != 1 or type(state["_metadata"]) is not OrderedDict:
                        raise Refused("it sets an attribute")
                case "PROTO" | "STOP":
                    pass
                case _:
                    raise Refused(f"it has the opcode {name}")
        (root,) = stack
        return root

    def _taken(self, count: int) -> list[Any]:
        """Remove and return the last values of the stack."""
        if len(self._stack) - (self._marks[-1] if self._marks else 0) < count:
            raise Refused("it uses a value that does not exist")
        taken = self._stack[-count:]
        del self._stack[-count:]
        return taken

    def _marked(self) -> list[Any]:
        """Remove and return the values above the last mark, with the mark."""
        mark = self._marks.pop()
        taken = self._stack[mark:]
        del self._stack[mark:]
        return taken

    def _top(self, *kinds: type) -> Any:
        if type(self._stack[-1]) not in kinds:
            raise Refused("it fills something else than a list or a dict")
        return self._stack[-1]

    @staticmethod
    def _fill(target: dict[Any, Any], items: list[Any]) -> None:
        if any(type(key) not in (str, int) for key in items[::2]):
            raise Refused("it has a key that is neither text nor a number")
        target.update(zip(items[::2], items[1::2], strict=True))

    def _called(self, function: Any, arguments: Any) -> Any:
        if function is OrderedDict and arguments == ():
            return OrderedDict()
        if function is _tensor:
            return _tensor(*arguments)
        raise Refused("it calls something")

    def _storage(self, kind: str, dtype: torch.dtype, key: str, place: str, count: int, *rest: Any) -> _Storage:
        """Return the storage of this name, after a check that it has the number of values in the pickle."""
        if kind != "storage" or not isinstance(dtype, torch.dtype) or rest:
            raise Refused("it has other files than storages")
        if place != "cpu" and not place.startswith("cuda"):
            raise Refused(f"it has a tensor on {place[:20]}")
        if (key, dtype) not in self._storages:
            part = self._archive.getinfo(self._folder + key)
            if type(count) is not int or part.file_size != count * dtype.itemsize:
                raise Refused("it has a storage of another length than its tensors say")
            values = torch.empty(part.file_size, dtype=torch.uint8)
            with self._archive.open(part) as file:
                for piece in values.split(PIECE):
                    piece.numpy()[:] = np.frombuffer(file.read(len(piece)), np.uint8)
            self._storages[key, dtype] = _Storage(values.view(dtype).to(self._device))
        return self._storages[key, dtype]


def _known(name: str) -> Any:
    """Return the value that a global represents."""
    if name == REBUILD:
        return _tensor
    if name == ORDERED:
        return OrderedDict
    if name in DTYPES:
        return DTYPES[name]
    raise Refused(f"it names {name[:60].replace(' ', '.')}")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, wants_gradient: Any, hooks: Any) -> Tensor:
    """Return a view of a storage, after a check that it is inside the storage and has every value once."""
    numbers = [offset, *size, *stride]
    if type(storage) is not _Storage or any(type(n) is not int or n < 0 for n in numbers) or len(size) != len(stride):
        raise Refused("it has a tensor that is none")
    reach = sum(step * (count - 1) for step, count in zip(stride, size, strict=True)) + 1 if math.prod(size) else 0
    if offset + reach > len(storage.values) or not _has_every_value_once(size, stride):
        raise Refused("it has a tensor that is larger than its storage")
    return storage.values.as_strided(size, stride, offset)


def _has_every_value_once(size: Sequence[int], stride: Sequence[int]) -> bool:
    """Return whether no two places of a tensor share a value, as they do in one that was expanded."""
    reach = 0
    for step, count in sorted((step, count) for step, count in zip(stride, size, strict=True) if count > 1):
        if step <= reach:
            return math.prod(size) == 0
        reach += step * (count - 1)
    return True


def _measured(node: Any, known: dict[int, tuple[int, int, int]], depth: int) -> tuple[int, int, int]:
    """Return a value's depth, its number of values and the bytes of its tensors, each counted at every appearance."""
    if isinstance(node, Tensor):
        return 0, 1, node.nbytes
    if type(node) in SCALARS:
        return 0, 1, 0
    if type(node) not in (dict, OrderedDict, list, tuple):
        raise Refused("it has something else than data")
    if id(node) not in known:
        if depth > DEEPEST:
            raise Refused("it is nested too deeply")
        inner = [*node.values(), *vars(node).values()] if isinstance(node, OrderedDict) else _items(node)
        found = [_measured(item, known, depth + 1) for item in inner]
        deepest = 1 + max((each[0] for each in found), default=0)
        known[id(node)] = deepest, 1 + sum(each[1] for each in found), sum(each[2] for each in found)
    if depth + known[id(node)][0] > DEEPEST + 1:
        raise Refused("it is nested too deeply")
    return known[id(node)]


def _items(node: Any) -> Any:
    return node.values() if isinstance(node, dict) else node
