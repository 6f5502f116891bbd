"""Photographs of clothes, in MNIST's format."""

from __future__ import annotations

from gradinc.data.mnist_family import mnist_family
from gradinc.data.source import Source

_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def fashion_mnist(root: str | None) -> Source:
    """70,000 photographs of clothes, 28x28 pixels, 10 classes

    Paper: Xiao et al. 2017, arXiv 1708.07747
    Title: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms
    Authors: Han Xiao, Kashif Rasul, Roland Vollgraf
    """
    return mnist_family("fashion_mnist", root, _CLASSES)
