"""Disjoint classes in each task."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from gradinc.base.errors import UserError
from gradinc.config.names import written
from gradinc.config.values import Count, Whole
from gradinc.data.experience import Experience, Material


def split(
    material: Material, *, tasks: Count | list[Count] = 5, order: Literal["natural", "random"] | list[Whole] = "natural"
) -> list[Experience]:
    """Each task has its own classes

    If the classes cannot be distributed evenly, the first tasks have one more.

    Args:
        tasks: number of tasks, or a list with the number of classes of each task: [5,1,1,1,1,1].
        order: order of the classes: natural (by label), random (drawn from the seed), or a list of all labels.
    """
    return [Experience(material.dataset, classes) for classes in deal(material, tasks, order)]


def deal(material: Material, tasks: int | list[int], order: str | list[int]) -> list[tuple[int, ...]]:
    """Return the classes of each task.

    Raises:
        UserError: there are fewer classes than tasks, or other classes than `tasks` adds up to, or `order` does not
            name each class once.
    """
    classes = list(material.classes)
    if isinstance(tasks, list):
        if sum(tasks) != len(classes):
            where, what = written("stream.tasks", tasks), f"adds up to {sum(tasks)} classes"
            fix = f"Use numbers that add up to {len(classes)}, the classes of data={material.dataset.name}"
            raise UserError(where, what, fix)
    elif tasks > len(classes):
        what = f"data={material.dataset.name} has only {len(classes)} classes"
        raise UserError(f"stream.tasks={tasks}", what, f"Use stream.tasks={len(classes)} at most")
    if order == "random":
        classes = torch.randperm(len(classes), generator=material.generator("classes")).tolist()
    elif not isinstance(order, str):
        if sorted(order) != classes:
            what = f"has to name each of the labels 0 to {len(classes) - 1} once"
            raise UserError(written("stream.order", order), what, "Correct the list, or use stream.order=random")
        classes = order
    ends = np.cumsum(tasks)[:-1] if isinstance(tasks, list) else tasks
    return [tuple(int(label) for label in part) for part in np.array_split(classes, ends)]
