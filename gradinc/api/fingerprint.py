"""Digests of a program's own objects: of their code and of their values.

The code of a function or a class is its source, and the source of everything of the program that it reaches by name.
Python's library, PyTorch, NumPy and gradinc don't count: a run records their versions. A package that is installed
counts as a whole.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path, PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradinc.api.sources import NoSource, methods_of, of_class, of_function
from gradinc.config.catalog import PACKAGE
from gradinc.config.code import package_digest

_LENGTH = 16
"""Hexadecimal digits of a digest in a config."""

_RECORDED = ("torch", "numpy", "gradinc", "builtins")
"""Packages whose versions or digests a run records anyway."""

_STATE = ("training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
"""Attributes of a module that are fed in another way, or change without an effect on a run."""

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))
_REPR = (torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format, range, slice, PurePath, np.dtype)


def weights_digest(net: nn.Module) -> str:
    """Return the digest of a network's weights and buffers."""
    whole = Fingerprint()
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        whole.value([name, tensor])
    return whole.digest()


def fingerprint(thing: Any, weights: bool = True) -> str:
    """Return the digest of an object: of its code and its values.

    Args:
        weights: whether the weights and buffers of a network count, besides their shapes.

    Raises:
        NoSource: some code has no source, or some value has no digest.
        UserError: a source file was edited after it was loaded.
    """
    whole = Fingerprint(thing if isinstance(thing, nn.Module) and not weights else None)
    whole.value(thing)
    return whole.digest()


class Fingerprint:
    """A digest over objects and everything that they reach, each fed once.

    Args:
        shell: a network whose weights and buffers count by their shapes only.
    """

    def __init__(self, shell: nn.Module | None = None) -> None:
        self._shapes_only = set() if shell is None else {id(each) for each in (*shell.parameters(), *shell.buffers())}
        self._hash = hashlib.sha256()
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []  # else another object could get the same address

    def digest(self) -> str:
        return self._hash.hexdigest()[:_LENGTH]

    def value(self, thing: Any) -> None:
        """Feed a value."""
        if isinstance(thing, _PLAIN):
            self._text("value", f"{type(thing).__name__} {thing!r}")
        elif isinstance(thing, _REPR):
            self._text("value", f"{type(thing).__name__} {thing!s}")
        elif self._is_new(thing):
            self._new(thing)

    def _new(self, thing: Any) -> None:
        if isinstance(thing, Tensor | np.ndarray | np.generic):
            self._array(thing)
        elif isinstance(thing, ModuleType):
            self._module(thing)
        elif isinstance(thing, functools.partial):
            self._sequence("partial", [thing.func, thing.args, thing.keywords])
        elif isinstance(thing, MethodType):
            self._sequence("method", [thing.__func__, thing.__self__])
        elif isinstance(thing, type | FunctionType):
            self._code(thing)
        elif isinstance(thing, enum.Enum):
            self._sequence("enum", [type(thing), thing.name])
        elif isinstance(thing, nn.Module):
            self._network(thing)
        elif isinstance(thing, Mapping):
            self._sequence(type(thing).__name__, [item for pair in thing.items() for item in pair])
        elif isinstance(thing, list | tuple):
            self._sequence(type(thing).__name__, thing)
        elif isinstance(thing, set | frozenset):
            self._sequence("set", sorted(thing, key=repr))
        elif isinstance(thing, BuiltinFunctionType) or not hasattr(thing, "__dict__"):
            self._named(thing)
        else:
            self._sequence("object", [type(thing), dict(sorted(vars(thing).items()))])

    def _is_new(self, thing: Any) -> bool:
        """Feed the number of an object that was fed before."""
        number = self._seen.setdefault(id(thing), len(self._seen))
        if number < len(self._alive):
            self._text("again", str(number))
            return False
        self._alive.append(thing)
        return True

    def _text(self, tag: str, text: str) -> None:
        content = text.encode(errors="surrogatepass")
        self._hash.update(f"{tag} {len(content)}\n".encode() + content)

    def _sequence(self, tag: str, items: Any) -> None:
        items = list(items)
        self._text(tag, str(len(items)))
        for item in items:
            self.value(item)

    def _array(self, array: Any) -> None:
        if isinstance(array, Tensor):
            if array.is_meta or isinstance(array, nn.UninitializedParameter | nn.UninitializedBuffer):
                raise NoSource("a tensor without values")
            array = array.detach().cpu().contiguous()
            self._text("tensor", f"{array.dtype} {tuple(array.shape)}")
            self._hash.update(array.reshape(-1).view(torch.uint8).numpy().data)
            return
        array = np.ascontiguousarray(array)
        if array.dtype.hasobject:
            raise NoSource("an array of Python objects")
        self._text("array", f"{array.dtype.str} {array.shape}")
        self._hash.update(array.data)

    def _network(self, net: nn.Module) -> None:
        """Feed a module: its code, its attributes, its weights or their shapes, and its children."""
        own = {name: value for name, value in vars(net).items() if name not in _STATE}
        self._sequence("module", [type(net), {name: own[name] for name in sorted(own) if own[name] not in ({}, None)}])
        for tensors in (net._parameters, net._buffers):
            for name, tensor in tensors.items():
                flag = getattr(tensor, "requires_grad", False)
                only = tensor is not None and id(tensor) in self._shapes_only
                fed = [str(tensor.dtype), *tensor.shape] if only and tensor is not None else tensor
                self._sequence("weights", [name, flag, fed])
        for name, child in net._modules.items():
            self._sequence("child", [name, child])

    def _code(self, thing: Any) -> None:
        """Feed a function or a class: by name, as a part of an installed package, or by its source."""
        module = str(getattr(thing, "__module__", None) or "builtins")
        package = module.partition(".")[0]
        self._text("code", thing.__qualname__)
        if _is_recorded(thing, module):
            self._text("named", module)
        elif _is_installed(_file(thing, module)):
            self._text("package", f"{package} {package_digest(package)}")
        elif isinstance(thing, FunctionType):
            self._definition(of_function(thing))
            self._sequence("defaults", [thing.__defaults__, thing.__kwdefaults__])
        else:
            self._class(thing)

    def _class(self, kind: type) -> None:
        self._definition(of_class(kind))
        for base in kind.__bases__:
            self.value(base)
        for method in methods_of(kind):  # assigned from elsewhere
            if method.__qualname__.rpartition(".")[0] != kind.__qualname__:
                self.value(method)

    def _definition(self, found: Any) -> None:
        self._text("source", found.text)
        for name in found.names:
            if name not in found.scope or name.startswith("__"):
                continue
            value = found.scope[name]
            if isinstance(value, ModuleType):
                self._used(value, found.attributes.get(name, ()))
            elif not self._is_others(value):
                self._text("name", name)
                self.value(value)

    def _used(self, module: ModuleType, names: tuple[str, ...]) -> None:
        """Feed what a definition reads from a module of the program."""
        if self._is_others(module):
            return
        for name in names:
            value = getattr(module, name, None)
            if isinstance(value, ModuleType):
                self.value(value)
            elif not self._is_others(value):
                self._text("name", name)
                self.value(value)
        if not names:
            self.value(module)

    def _is_others(self, value: Any) -> bool:
        """Return whether a module, function or class that is reached by name is not the program's own."""
        if isinstance(value, ModuleType):
            name = value.__name__
        elif isinstance(value, type | FunctionType | BuiltinFunctionType):
            name = str(getattr(value, "__module__", None) or "builtins")
        else:
            return False
        return _is_recorded(value, name) or _is_installed(_file(value, name))

    def _module(self, module: ModuleType) -> None:
        """Feed a whole module of the program that is used as a value."""
        file = getattr(module, "__file__", None)
        if self._is_others(module) or not file:
            self._text("module", module.__name__)
        else:
            self._text("file", Path(file).read_text(encoding="utf-8"))

    def _named(self, thing: Any) -> None:
        """Feed an object without attributes: by its name if it has one."""
        name = getattr(thing, "__qualname__", None)
        if name is None or not callable(thing):
            raise NoSource(f"an object of type {type(thing).__qualname__}")
        self._text("named", f"{getattr(thing, '__module__', None)} {name}")


def _is_recorded(thing: Any, module: str) -> bool:
    """Return whether a module, function or class belongs to Python, PyTorch, NumPy or gradinc."""
    package = module.partition(".")[0]
    if package not in _RECORDED and package not in sys.stdlib_module_names - {"__main__"}:
        return False
    if isinstance(thing, ModuleType | BuiltinFunctionType) or _is_installed(_file(thing, module)):
        return True
    found: Any = sys.modules.get(module)  # code from exec can claim to be of any module
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is thing


@functools.cache
def _installed_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({os.path.realpath(paths[name]) + os.sep for name in ("purelib", "platlib", "stdlib")})


def _is_installed(file: str | None) -> bool:
    if file is None:
        return False
    path = os.path.realpath(file)
    return path.startswith((*_installed_folders(), str(PACKAGE) + os.sep))


def _file(thing: Any, module: str) -> str | None:
    if isinstance(thing, FunctionType):
        return thing.__code__.co_filename
    return getattr(thing if isinstance(thing, ModuleType) else sys.modules.get(module), "__file__", None)
