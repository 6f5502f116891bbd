"""The same images at another angle in each task."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.config.values import Count
from gradinc.data.experience import Experience, Material, on_demand
from gradinc.data.rows import Change

HALF_TURN = 180.0
STEP = 10.0


def rotated(
    material: Material,
    *,
    tasks: Count = 10,
    law: Literal["bins", "uniform", "step", "jittered"] = "uniform",
    step: float = STEP,
    first_identity: bool = False,
    interpolation: Literal["nearest", "bilinear"] = "nearest",
) -> list[Experience]:
    """Each task has all classes, rotated by its own angle

    Paper: Lopez-Paz & Ranzato 2017, arXiv 1706.08840
    Title: Gradient Episodic Memory for Continual Learning
    Authors: David Lopez-Paz, Marc'Aurelio Ranzato

    Angles are in degrees, counter-clockwise, about the middle of the image; pixels from outside are black.

    Args:
        tasks: number of tasks.
        law: bins draws the angle of task t from the t-th of equal parts of 0 to 180 (as GEM does), uniform draws each
            angle from 0 to 180 independently (as DER does), step adds the same angle with each task, and jittered
            subtracts a random part of a step from the angle of law=step (as Mirzadeh et al. 2020 do).
        step: degrees between two tasks, for the laws step and jittered. With law=step the first task is not rotated.
        first_identity: whether the first task is not rotated, for the laws that draw angles.
        interpolation: nearest uses the nearest pixel, bilinear the weighted mean of four.
    """
    if step != STEP and law not in ("step", "jittered"):
        what = "has no effect without stream.law=step or jittered"
        raise UserError(f"stream.step={step:g}", what, "Set stream.law=step too, or leave it out")
    if first_identity and law == "step":
        what = "has no effect with stream.law=step, whose first task is not rotated"
        raise UserError("stream.first_identity=true", what, "Leave it out")
    dataset = material.dataset
    if len(dataset.shape) != 3:
        what = f"needs images, and rows of data={dataset.name} have shape {dataset.shape}"
        raise UserError("stream=rotated", what, "Use stream=permuted, or image data")
    fill = dataset.fill

    def make(task: int) -> Change:
        draw = float(torch.rand((), generator=material.generator("angle", task), dtype=torch.float64))
        angles = {
            "bins": (task + draw) * HALF_TURN / tasks,
            "uniform": draw * HALF_TURN,
            "step": task * step,
            "jittered": (task - draw) * step,
        }
        angle = 0.0 if first_identity and task == 0 else angles[law]
        return rotation(angle, dataset.shape, fill, interpolation)

    change = on_demand(make)
    return [Experience(dataset, material.classes, change=change(task)) for task in range(tasks)]


def rotation(angle: float, shape: tuple[int, ...], fill: Tensor, interpolation: str = "nearest") -> Change:
    """Return a function that rotates images counter-clockwise: it looks up each pixel's position in the old image.

    Args:
        angle: in degrees.
        shape: shape of one image, (channels, height, width).
        fill: value of black, shape (channels,).
        interpolation: ``nearest`` or ``bilinear``.
    """
    _, height, width = shape
    turn = math.radians(angle)
    down = torch.arange(height, dtype=torch.float64).view(-1, 1) - (height - 1) / 2
    right = torch.arange(width, dtype=torch.float64).view(1, -1) - (width - 1) / 2
    column = math.cos(turn) * right - math.sin(turn) * down + (width - 1) / 2
    row = math.sin(turn) * right + math.cos(turn) * down + (height - 1) / 2
    if interpolation == "nearest":
        corners = [(row.round(decimals=6).round(), column.round(decimals=6).round(), torch.ones_like(row))]
    else:
        top, left = row.round(decimals=6).floor(), column.round(decimals=6).floor()
        below, beside = row - top, column - left
        corners = [
            (top + i, left + j, (below if i else 1 - below) * (beside if j else 1 - beside))
            for i in (0, 1)
            for j in (0, 1)
        ]
    gathers = []
    for r, c, weight in corners:
        inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
        place = torch.where(inside, r * width + c, height * width).long()
        gathers.append((place.flatten(), weight.flatten()))

    def change(x: Tensor) -> Tensor:
        pixels, black = x.flatten(2), fill.to(x.device, x.dtype).view(1, -1, 1).expand(len(x), -1, 1)
        pixels = torch.cat((pixels, black), 2).flatten(0, 1)  # pixels from outside are the last one
        total: Tensor | None = None
        for place, weight in gathers:
            taken = pixels.index_select(1, place.to(x.device))
            if interpolation == "bilinear":
                taken.mul_(weight.to(x.device, x.dtype))
            total = taken if total is None else total.add_(taken)
        assert total is not None
        return total.view(x.shape)

    return change
