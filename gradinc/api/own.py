"""A program's own objects, as keys of a config and the objects behind them."""

from __future__ import annotations

import copy
import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradinc.api.fingerprint import fingerprint, weights_digest
from gradinc.api.rows import given_parts, is_own_data, is_own_stream
from gradinc.api.sources import NoSource
from gradinc.base.errors import UserError
from gradinc.base.objects import Held
from gradinc.data.sets.arrays import ArrayPart, arrays_digest
from gradinc.models.module import Maker

_TAKEN = ("loss", "accuracy", "accuracy_in_task", "mse", "r2")
"""Names of measures that a metric cannot have."""


@dataclass
class Own:
    """The objects of one call.

    Attributes:
        keys: the keys of the config that stand for them.
        objects: the objects, which are found by their digests as long as this exists.
        shown: the objects as they are named in messages, by argument.
    """

    keys: dict[str, Any] = field(default_factory=dict)
    objects: list[Held] = field(default_factory=list)
    shown: dict[str, str] = field(default_factory=dict)


def separated(keys: Mapping[str, Any], name: str | None = None) -> tuple[dict[str, Any], Own]:
    """Separate the program's own objects from the keys of the config.

    Args:
        keys: keyword arguments of `gradinc.train`.
        name: the run's name, if it has one: then objects without a digest are possible.

    Raises:
        UserError: an object cannot be used, or has no digest and the run has no name.
    """
    rest, own = dict(keys), Own()
    data, stream = rest.get("data"), rest.get("stream")
    parts = None
    if is_own_data(data) or is_own_stream(stream):
        found = {each: rest.pop(each, None) for each in ("data", "stream", "test", "validation")}
        if isinstance(found["stream"], str | Mapping):
            rest["stream"] = found.pop("stream")
        parts = given_parts(**found)
        _hold_data(own, parts, is_stream="stream" not in rest and stream is not None)
    for each in ("test", "validation"):
        if rest.get(each) is not None:
            raise UserError(each, "goes with arrays of your own", "Give data=(x, y) too, or data.test=0.2 for a share")
        rest.pop(each, None)
    model = rest.get("model")
    if isinstance(model, nn.Module) or (callable(model) and not isinstance(model, str)):
        _hold_model(own, rest.pop("model"), name)
        if parts is not None and isinstance(model, nn.Module):
            own.keys |= _classes(model, parts)
    for kind in ("criterion", "metric"):
        if callable(rest.get(kind)):
            _hold_function(own, kind, rest.pop(kind), name)
    return rest, own


def label_of(thing: Any) -> str:
    """Return the name of an object's class, or of a class or function."""
    thing = thing.func if isinstance(thing, functools.partial) else thing
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return re.sub(r"\W", "", str(named.__qualname__).rpartition(".")[2])


def digest_of(kind: str, thing: Any, name: str | None) -> str:
    """Return the digest of an object's code and values.

    Args:
        kind: its argument, for the message.
        name: the run's name, if it has one.

    Raises:
        UserError: it has no digest, and the run has no name.
    """
    try:
        return fingerprint(thing, weights=kind != "model")
    except NoSource as error:
        if name is not None:
            return f"none-{name}"
        what = f"has no digest ({error}), so the run cannot be found by what it computes"
        raise UserError(f"{kind}={label_of(thing)}", what, "Give the run a name: name=…") from None


def _hold_model(own: Own, model: Any, name: str | None) -> None:
    label, digest = label_of(model), digest_of("model", model, name)
    own.keys |= {"model": "module", "model.net": label, "model.digest": digest}
    held = digest
    if isinstance(model, nn.Module):
        own.keys["model.weights"] = weights_digest(model)
        held = f"{digest}-{own.keys['model.weights']}"
    own.objects.append(Held("model", held, maker(model)))
    own.shown["model"] = label


def _hold_function(own: Own, kind: str, function: Any, name: str | None) -> None:
    label, digest = label_of(function), digest_of(kind, function, name)
    own.keys |= function_keys(kind, label, digest)
    own.objects.append(Held(kind, digest, function))
    own.shown[kind] = label


def function_keys(kind: str, label: str, digest: str) -> dict[str, str]:
    """Return the keys of a config that stand for a function.

    Args:
        kind: ``criterion`` or ``metric``.
        label: its name.

    Raises:
        UserError: its name is the name of another measure.
    """
    if kind == "criterion":
        return {"criterion": "function", "criterion.of": label, "criterion.digest": digest}
    if label in _TAKEN:
        raise UserError(f"metric={label}", "is the name of a measure that every run has", "Rename the function")
    return {"evaluate.metric": f"{label}-{digest}"}


def maker(model: Any) -> Maker:
    """Return a function that makes the network: a copy of a module, or the result of a function or a class.

    Raises:
        UserError: the module cannot be copied, or the function takes other arguments.
    """
    label = label_of(model)
    if isinstance(model, nn.Module):
        try:
            original = copy.deepcopy(model)
        except Exception as error:
            raise UserError(f"model={label}", f"cannot be copied ({error})", "Give its class or a function") from error
        return lambda shape, outputs: copy.deepcopy(original)
    make: Callable[..., Any] = model
    count = _needed(make)
    if count not in (0, 2):
        what = f"takes {count} arguments"
        fix = "Give a function without arguments, or of the shape of a row and the number of outputs"
        raise UserError(f"model={label}", what, fix)

    def made(shape: tuple[int, ...], outputs: int) -> nn.Module:
        found = make(shape, outputs) if count else make()
        if not isinstance(found, nn.Module):
            raise UserError(f"model={label}", f"returns a {type(found).__name__}", "Return an nn.Module")
        return found

    return made


def _needed(function: Callable[..., Any]) -> int:
    """Return the number of arguments that a function or a class needs."""
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    parameters = inspect.signature(function).parameters.values()
    return sum(each.kind in kinds and each.default is each.empty for each in parameters)


def _hold_data(own: Own, parts: Sequence[ArrayPart], *, is_stream: bool) -> None:
    digest = arrays_digest(parts)
    own.keys |= {"data": "arrays", "data.digest": digest}
    if is_stream:
        own.keys["stream"] = "given"
    own.objects.append(Held("data", digest, parts))
    own.shown["stream" if is_stream else "data"] = "…"


def _classes(model: nn.Module, parts: Sequence[ArrayPart]) -> dict[str, int]:
    """Return the key for the number of classes if a network has more outputs than there are labels."""
    if any(part.y.dtype.kind not in "iu" or part.y.ndim != 1 for part in parts):
        return {}
    labels = max(int(part.y.max()) for part in parts) + 1
    first = next(iter(model.parameters()), None)
    if first is None:
        return {}
    trial = copy.deepcopy(model).eval()
    try:
        with torch.no_grad():
            out = trial(torch.zeros(2, *parts[0].x.shape[1:], dtype=first.dtype, device=first.device))
    except Exception:  # building the run's network reports it
        return {}
    more = isinstance(out, Tensor) and out.ndim == 2 and out.shape[1] > labels
    return {"data.classes": int(out.shape[1])} if more else {}
