"""Overlapping classes of tasks."""

from __future__ import annotations

from typing import Literal

import torch

from gradinc.base.errors import UserError
from gradinc.config.values import Count, Fraction, Whole
from gradinc.data.experience import Experience, Material, rows_of_classes
from gradinc.data.streams.split import deal

OVERLAP = 0.1


def blurry(
    material: Material,
    *,
    tasks: Count | list[Count] = 5,
    order: Literal["natural", "random"] | list[Whole] = "natural",
    overlap: Fraction = OVERLAP,
) -> list[Experience]:
    """Each task has its own classes, and some rows of other tasks' classes

    Paper: Bang et al. 2021, arXiv 2103.17230
    Title: Rainbow Memory: Continual Learning with a Memory of Diverse Samples
    Authors: Jihwan Bang, Heesu Kim, YoungJoon Yoo, Jung-Woo Ha, Jonghyun Choi

    A task is validated and tested on its own classes. With overlap 0 this is stream=split.

    Args:
        tasks: number of tasks, or a list with the number of classes of each task, as in stream=split.
        order: order of the classes, as in stream=split.
        overlap: share of each class's training rows that is distributed evenly to the other tasks.
    """
    dataset, parts = material.dataset, deal(material, tasks, order)
    count = len(parts)
    if overlap != OVERLAP and count == 1:
        raise UserError(f"stream.overlap={overlap:g}", "has no effect with one task", "Use more tasks, or leave it out")
    kept: list[list[torch.Tensor]] = [[] for _ in parts]
    for task, classes in enumerate(parts):
        for label in classes:
            rows = rows_of_classes(dataset.train.y, [label])
            rows = rows[torch.randperm(len(rows), generator=material.generator("overlap", label))]
            away = round(overlap * len(rows)) if count > 1 else 0
            kept[task].append(rows[away:])
            for turn in range(count - 1):
                # Each class begins with another task, so that the odd rows are spread over tasks.
                other = (task + 1 + (turn + label) % (count - 1)) % count
                kept[other].append(rows[turn : away : count - 1])
    return [
        Experience(dataset, classes, train=torch.cat(rows).sort().values)
        for classes, rows in zip(parts, kept, strict=True)
    ]
