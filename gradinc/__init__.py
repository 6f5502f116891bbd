"""gradinc: experiments on how gradients are accumulated, enhanced and projected."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradinc.api.attach import attach
    from gradinc.api.load import load
    from gradinc.api.matrix_metrics import metrics
    from gradinc.api.results import results
    from gradinc.api.sweep import sweep
    from gradinc.api.train import train
    from gradinc.api.use import use
    from gradinc.base.errors import UserError

__version__ = "0.2.0"
__all__ = ["UserError", "__version__", "attach", "load", "metrics", "results", "sweep", "train", "use"]

_MODULES = {
    "UserError": "gradinc.base.errors",
    "attach": "gradinc.api.attach",
    "load": "gradinc.api.load",
    "metrics": "gradinc.api.matrix_metrics",
    "results": "gradinc.api.results",
    "sweep": "gradinc.api.sweep",
    "train": "gradinc.api.train",
    "use": "gradinc.api.use",
}
"""The module of each public name: it is imported, with torch, when the name is used for the first time."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'gradinc' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
