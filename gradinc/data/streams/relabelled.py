"""The same rows with other labels in each task."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.config.values import Count
from gradinc.data.experience import Experience, Material, Targets
from gradinc.data.rows import Rows


def relabelled(
    material: Material,
    *,
    tasks: Count = 50,
    rows: Count | None = None,
    labels: Literal["random", "permuted"] = "random",
) -> list[Experience]:
    """Each task has the same rows, with new labels

    Paper: Lyle et al. 2023, arXiv 2303.01486
    Title: Understanding plasticity in neural networks
    Authors: Clare Lyle, Zeyu Zheng, Evgenii Nikishin, Bernardo Avila Pires, Razvan Pascanu, Will Dabney

    Random labels can only be memorised: validation and test rows have random labels too, and accuracy on them stays at
    chance. The measure of these streams is the online accuracy, or the training loss.

    Args:
        tasks: number of tasks.
        rows: training rows, the same ones in every task, drawn by the seed; null takes all.
        labels: random draws the label of each row anew in each task, permuted gives each class the label of another.
    """
    dataset, classes = material.dataset, material.classes
    chosen, most = None, len(dataset.train)
    if rows is not None and rows > most:
        raise UserError(f"stream.rows={rows}", f"data={dataset.name} has {most} training rows", f"Use {most} at most")
    if rows is not None:
        chosen = torch.randperm(most, generator=material.generator("rows"))[:rows].sort().values

    def targets(task: int) -> Targets:
        def drawn(part: str, rows: Rows) -> Tensor:
            if labels == "permuted":
                order = torch.randperm(len(classes), generator=material.generator("labels", task))
                return order.to(rows.y.device)[rows.y]
            random = material.generator("labels", task, part)
            return torch.randint(len(classes), (len(rows),), generator=random).to(rows.y.device)

        return drawn

    return [Experience(dataset, classes, train=chosen, targets=targets(task)) for task in range(tasks)]
