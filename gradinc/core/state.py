"""The state of a learner's parts in a checkpoint: saved, and restored after a check of its kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from gradinc.core.memory import Memory


class Declared:
    """The state of methods, rules or dues by name: the attributes that each part names in ``state``.

    Args:
        like: a vector of shape (P,); tensors as long as the weights have its dtype.
        optional: whether a checkpoint may have other parts, because diagnostics can be switched on and off. State of
            other parts is ignored, and a part without saved state stays unchanged.
    """

    def __init__(self, parts: Mapping[str, Any], like: Tensor, *, optional: bool = False) -> None:
        self._parts, self._like, self._optional = parts, like, optional

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return the values of each part's declared attributes."""
        return {name: {key: _saved(getattr(part, key)) for key in part.state} for name, part in self._parts.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Restore the parts from the result of `state_dict`.

        Raises:
            KeyError, TypeError, ValueError: the state has other parts, or a part has other names or kinds.
        """
        if not self._optional and list(state) != list(self._parts):
            raise KeyError(f"the state is of {list(state)}, not of {list(self._parts)}")
        for name, part in self._parts.items():
            if name in state:
                self._restore(part, state[name])

    def _restore(self, part: Any, state: Mapping[str, Any]) -> None:
        if set(state) != set(part.state):
            raise KeyError(f"the state of {type(part).__name__} is {sorted(part.state)}, not {sorted(state)}")
        for name, value in state.items():
            where, now = f"{name} of {type(part).__name__}", getattr(part, name, None)
            if isinstance(now, Memory):
                now.load_state_dict(value)
                continue
            if not alike(now, value):
                raise TypeError(f"{where} is a {type(value).__name__}, not a {type(now).__name__}")
            for tensor in _tensors(value):
                long = tensor.is_floating_point() and tensor.shape[-1:] == self._like.shape
                if long and tensor.dtype != self._like.dtype:
                    raise ValueError(f"{where} is of {tensor.dtype}, not {self._like.dtype}")
            setattr(part, name, value)


class Parameters:
    """A model's parameters and buffers."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def state_dict(self) -> dict[str, Any]:
        """Return the model's own state."""
        return self._model.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the model's state.

        Raises:
            KeyError, ValueError, RuntimeError: the state is of another model.
        """
        for name, tensor in self._model.state_dict().items():
            expect(f"the weight {name}", state[name], tensor)
        self._model.load_state_dict(state)


def expect(name: str, value: Tensor, like: Tensor) -> None:
    """Check that a tensor of a checkpoint has the shape and dtype of the tensor that it replaces.

    Raises:
        ValueError: the shape or the dtype differs.
    """
    if value.shape != like.shape or value.dtype != like.dtype:
        was, wanted = (f"{tuple(each.shape)} of {each.dtype}" for each in (value, like))
        raise ValueError(f"{name} has shape {was}, not {wanted}")


def alike(now: Any, value: Any) -> bool:
    """Return whether two values are of the same kind: a number and a number, a matrix and a matrix."""
    number = (int, float)
    if now is None:  # a value that a part does not have at first
        return value is None or isinstance(value, Tensor | int | float)
    if isinstance(now, Tensor):
        return isinstance(value, Tensor) and (value.dim() == now.dim() or now.shape == (0,))
    return isinstance(value, number) if isinstance(now, number) else isinstance(value, type(now))


def _saved(value: Any) -> Any:
    return value.state_dict() if isinstance(value, Memory) else value


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in lists and dicts of a state."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
