"""The same pixels in another order in each task."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import Count
from gradinc.data.experience import Experience, Material, on_demand
from gradinc.data.rows import Change


def permuted(material: Material, *, tasks: Count = 10, first_identity: bool = False) -> list[Experience]:
    """Each task has all classes, with its own permutation of the pixels

    The channels of a pixel stay together. For rows that are not images the features are permuted.

    Paper: Goodfellow et al. 2013, arXiv 1312.6211
    Title: An Empirical Investigation of Catastrophic Forgetting in Gradient-Based Neural Networks
    Authors: Ian J. Goodfellow, Mehdi Mirza, Da Xiao, Aaron Courville, Yoshua Bengio

    Args:
        tasks: number of tasks.
        first_identity: whether the first task is not permuted.
    """
    dataset, classes = material.dataset, material.classes
    pixels = dataset.shape[1] * dataset.shape[2] if len(dataset.shape) == 3 else dataset.shape[0]

    def make(task: int) -> Change:
        return permutation(torch.randperm(pixels, generator=material.generator("permutation", task)))

    change = on_demand(make)
    same = range(1 if first_identity else 0)
    return [Experience(dataset, classes, change=None if task in same else change(task)) for task in range(tasks)]


def permutation(order: Tensor) -> Change:
    """Return a function that moves pixel ``order[i]`` of each image, or feature of each row, to position i.

    Args:
        order: int64, shape (pixels,).
    """
    places: dict[torch.device, Tensor] = {}

    def change(x: Tensor) -> Tensor:
        if x.device not in places:
            places[x.device] = order.to(x.device)
        pixels = x.reshape(-1, len(order))  # of each channel of each row: in two dimensions it is four times as fast
        return pixels.index_select(1, places[x.device]).view(x.shape)

    return change
