"""The tasks that the rows of the data set have."""

from __future__ import annotations

import torch

from gradinc.base.errors import UserError
from gradinc.data.experience import Experience, Material
from gradinc.data.source import DATA_PARTS


def given(material: Material) -> list[Experience]:
    """Your own tasks, from Python: gradinc.train(stream=[(x1, y1), (x2, y2)])

    A task is a group of rows of the data set. All rows are normalised together, and each task is split separately.
    """
    dataset, groups = material.dataset, material.dataset.groups
    if groups is None:
        fix = "Give them in Python, gradinc.train(stream=[(x1, y1), …]), or choose another stream"
        raise UserError("stream=given", f"the rows of data={dataset.name} have no tasks", fix)
    _ = material.classes  # raises for a regression
    experiences = []
    for task in range(len(groups.names)):
        rows = [getattr(dataset, part).y.cpu()[groups.of_rows[part] == task] for part in DATA_PARTS]
        experiences.append(Experience(dataset, tuple(sorted(set(torch.cat(rows).tolist()))), group=task))
    return experiences
