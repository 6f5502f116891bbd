"""Inputs reconstructed from the gradient of a window.

Papers: Zhu et al. 2019, arXiv 1906.08935 (DLG: match the gradient, and find the labels along with the images);
Geiping et al. 2020, arXiv 2003.14053 (match its direction); Zhao et al. 2020, arXiv 2001.02610 (labels from signs).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from gradinc.data.input_space import InputSpace

Variant = Literal["dlg", "cosine"]


@dataclass(frozen=True)
class Inverted:
    """Reconstructed inputs.

    Attributes:
        x: images, shape (rows, C, H, W), in the order of the originals that they fit best.
        y: the adversary's labels, shape (rows,), in the same order.
        psnr: PSNR of each image, in dB, shape (rows,).
        labels: share of the labels that were found, regardless of order.
        distance: final value of the objective.
    """

    x: Tensor
    y: Tensor
    psnr: Tensor
    labels: float
    distance: float


def labels_of(gradient: Sequence[Tensor], rows: int) -> Tensor:
    """Return the labels of a window, inferred from the gradient of the last layer's bias.

    This gradient is the mean of softmax minus one-hot over the rows, so each row of a class lowers its entry by 1 /
    rows; the softmax is assumed equal for all classes, as in a fresh model.
    """
    bias = gradient[-1]
    left = bias - 1 / len(bias)
    found = []
    for _ in range(rows):
        lowest = int(left.argmin())
        found.append(lowest)
        left = left.index_add(0, torch.tensor([lowest], device=left.device), left.new_tensor([1 / rows]))
    return torch.tensor(found, device=bias.device)


def invert(
    model: nn.Module,
    gradient: Sequence[Tensor],
    x: Tensor,
    y: Tensor,
    space: InputSpace,
    *,
    variant: Variant,
    steps: int,
    random: torch.Generator,
    watch: Callable[[], None] = lambda: None,
) -> Inverted:
    """Find images whose gradient is the given one, starting from noise.

    Args:
        gradient: gradient of the window, one tensor for each layer; the adversary sees it and the model.
        x, y: the window, for its shape and for measuring the quality of the result.
        variant: ``dlg`` minimises the relative squared distance of the gradients over images and labels, by L-BFGS;
            ``cosine`` takes the labels from the bias and minimises one minus the cosine, by Adam on
            signs of gradients.
        steps: steps of the optimizer.
    """
    target = [part.detach() for part in gradient]
    parameters = [p for p in model.parameters() if p.requires_grad]
    guess = torch.randn(x.shape, generator=random, device=x.device, dtype=x.dtype).requires_grad_()
    rows, classes = len(x), len(target[-1])
    labels = torch.randn(rows, classes, generator=random, device=x.device, dtype=x.dtype).requires_grad_()
    known = labels_of(target, rows)
    size = torch.stack([part.square().sum() for part in target]).sum()  # a trained model's gradients are tiny

    def distance() -> Tensor:
        out = model(guess)
        if variant == "dlg":
            loss = -(labels.softmax(1) * out.log_softmax(1)).sum(1).mean()
        else:
            loss = F.cross_entropy(out, known)
        found = torch.autograd.grad(loss, parameters, create_graph=True)
        pairs = list(zip(found, target, strict=True))
        if variant == "dlg":
            return torch.stack([(a - b).square().sum() for a, b in pairs]).sum() / size
        dot = torch.stack([(a * b).sum() for a, b in pairs]).sum()
        lengths = [torch.stack([part.square().sum() for part in side]).sum().sqrt() for side in (found, target)]
        return 1 - dot / (lengths[0] * lengths[1])

    best, left = guess.detach().clone(), math.inf
    chosen = labels.detach().argmax(1)

    def note(value: float) -> None:
        nonlocal best, left, chosen
        if value < left:
            best, left, chosen = guess.detach().clone(), value, labels.detach().argmax(1)

    if variant == "dlg":
        solver = torch.optim.LBFGS(
            [guess, labels],
            lr=1.0,
            max_iter=20,
            line_search_fn="strong_wolfe",
            tolerance_grad=1e-12,
            tolerance_change=1e-14,
        )

        def closure() -> Tensor:
            solver.zero_grad()
            value = distance()
            guess.grad, labels.grad = torch.autograd.grad(value, [guess, labels])
            note(float(value.detach()))
            return value

        for _ in range(max(1, steps // 20)):
            solver.step(closure)
            watch()
    else:
        adam = torch.optim.Adam([guess], lr=0.1)
        rates = torch.optim.lr_scheduler.MultiStepLR(adam, [steps * 3 // 8, steps * 5 // 8, steps * 7 // 8])
        for _ in range(steps):
            value = distance()
            note(float(value.detach()))
            guess.grad = torch.autograd.grad(value, guess)[0].sign()
            adam.step()
            rates.step()
            with torch.no_grad():
                guess.copy_(torch.minimum(torch.maximum(guess, space.low), space.high))
            watch()
    best = torch.minimum(torch.maximum(best, space.low), space.high)
    return _matched(best, chosen if variant == "dlg" else known, x, y, space, left)


def psnr(a: Tensor, b: Tensor, space: InputSpace) -> Tensor:
    """Return the peak signal-to-noise ratio of every pair of images in dB, at most 100, shape (a rows, b rows)."""
    error = ((a[:, None] - b[None]) * space.std).flatten(2).square().mean(2)
    return 10 * torch.log10(space.range**2 / error.clamp(min=1e-10 * space.range**2))


def _matched(found: Tensor, labels: Tensor, x: Tensor, y: Tensor, space: InputSpace, distance: float) -> Inverted:
    """Pair the images of a window, which have no order, with the originals for the highest mean PSNR."""
    ratios = psnr(x, found, space)
    _, order = linear_sum_assignment(ratios.cpu().numpy(), maximize=True)
    places = torch.as_tensor(order, device=x.device)
    classes = int(max(labels.max(), y.max())) + 1
    common = torch.minimum(torch.bincount(labels, minlength=classes), torch.bincount(y, minlength=classes)).sum()
    rows = torch.arange(len(x), device=x.device)
    return Inverted(found[places], labels[places], ratios[rows, places], float(common) / len(y), distance)
