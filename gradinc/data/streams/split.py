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
    material: Material, *, tasks: Count = 5, order: Literal["natural", "random"] | list[Whole] = "natural"
) -> list[Experience]:
    """Each task has its own classes

    If the classes cannot be distributed evenly, the first tasks have one more.

    Args:
        tasks: number of tasks.
        order: order of the classes: natural (by label), random (drawn from the seed), or a list of all labels.
    """
    return [Experience(material.dataset, classes) for classes in deal(material, tasks, order)]


def deal(material: Material, tasks: int, order: str | list[int]) -> list[tuple[int, ...]]:
    """Return the classes of each task.

    Raises:
        UserError: there are fewer classes than tasks, or `order` does not name each class once.
    """
    classes = list(material.classes)
    if tasks > len(classes):
        what = f"data={material.dataset.name} has only {len(classes)} classes"
        raise UserError(f"stream.tasks={tasks}", what, f"Use stream.tasks={len(classes)} at most")
    if order == "random":
        classes = torch.randperm(len(classes), generator=material.generator("classes")).tolist()
    elif not isinstance(order, str):
        if sorted(order) != classes:
            what = f"has to name each of the labels 0 to {len(classes) - 1} once"
            raise UserError(written("stream.order", order), what, "Correct the list, or use stream.order=random")
        classes = order
    return [tuple(int(label) for label in part) for part in np.array_split(classes, tasks)]
