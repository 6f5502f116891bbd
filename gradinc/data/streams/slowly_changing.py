"""Inputs that are constant in a task and change between tasks."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.config.values import Count
from gradinc.data.experience import Experience, Material, Targets
from gradinc.data.rows import Change, Rows, TensorRows


def slowly_changing(material: Material, *, tasks: Count = 100, slow: Count = 15) -> list[Experience]:
    """Each task has constant bits, one of which flips between tasks

    Paper: Dohare et al. 2024, arXiv 2306.13812
    Title: Maintaining Plasticity in Deep Continual Learning
    Authors: Shibhansh Dohare, J. Fernando Hernandez-Garcia, Parash Rahman, A. Rupam Mahmood, Richard S. Sutton

    The other bits change from row to row. The target is one fixed function of all bits, so a large network could fit
    all tasks at once.

    Args:
        tasks: number of tasks.
        slow: bits that are constant in a task.
    """
    dataset = material.dataset
    if dataset.law is None:
        what = f"needs targets for changed inputs, and data={dataset.name} has no known function for them"
        raise UserError("stream=slowly_changing", what, "Use data=bit_flipping")
    if slow > dataset.shape[0]:
        what = f"a row of data={dataset.name} has {dataset.shape[0]} bits"
        raise UserError(f"stream.slow={slow}", what, f"Use {dataset.shape[0]} at most")
    states = torch.empty(tasks, slow, dtype=torch.uint8)
    states[0] = torch.randint(2, (slow,), generator=material.generator("bits"))
    flips = torch.randint(slow, (tasks,), generator=material.generator("flips"))
    for task in range(1, tasks):
        states[task] = states[task - 1]
        states[task, flips[task]] = 1 - states[task, flips[task]]
    first = dataset.train.y
    mean, std = (torch.tensor(each, dtype=torch.float64, device=first.device) for each in (dataset.mean, dataset.std))

    def change(state: Tensor) -> Change:
        def changed(x: Tensor) -> Tensor:
            bits = (state.to(x.device).double() - mean[:slow]) / std[:slow]
            return torch.cat((bits.to(x.dtype).expand(len(x), -1), x[:, slow:]), 1)

        return changed

    def targets(state: Tensor) -> Targets:
        def computed(part: str, rows: Rows) -> Tensor:
            if not isinstance(rows, TensorRows):  # the outline of a data set
                return rows.y
            bits = (change(state)(rows.x).double() * std + mean).round()
            assert dataset.law is not None
            y = torch.from_numpy(dataset.law(bits.cpu().numpy())).double()
            if dataset.target_mean is not None and dataset.target_std is not None:
                y = (y - torch.tensor(dataset.target_mean)) / torch.tensor(dataset.target_std)
            return y.to(rows.y.device, rows.y.dtype)

        return computed

    return [Experience(dataset, (), change=change(state), targets=targets(state)) for state in states]
