"""Handwritten digits, the field's oldest benchmark."""

from __future__ import annotations

from gradinc.data.mnist_family import mnist_family
from gradinc.data.source import Source


def mnist(root: str | None) -> Source:
    """70,000 handwritten digits of 28x28 pixels, 10 classes"""
    return mnist_family("mnist", root, tuple("0123456789"))
