"""Small colour photographs, ten classes."""

from __future__ import annotations

from gradinc.data.cifar import cifar
from gradinc.data.source import Source


def cifar10(root: str | None) -> Source:
    """60,000 colour photographs of 32x32 pixels, 10 classes

    Paper: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images
    """
    return cifar("cifar10", root)
