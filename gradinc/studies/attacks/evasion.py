"""Inputs that fool a model: one step, many steps with restarts, and noise of the same size for comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gradinc.data.input_space import BallNorm, InputSpace

Logits = Callable[[Tensor], Tensor]
"""A model in evaluation mode: from images, shape (rows, C, H, W), to logits, shape (rows, classes)."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""The quantity that an adversary maximises, for each row, from logits and labels: shape (rows,)."""


def row_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy, on which most models are trained. Its gradient vanishes for very confident models."""
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return the largest other logit minus the label's: above 0 if the row is misclassified; it does not saturate.

    Paper: Carlini & Wagner 2017, arXiv 1608.04644, equation f6, with the opposite sign.
    """
    own = F.one_hot(y, logits.shape[1]).bool()
    return logits.masked_fill(own, -torch.inf).amax(1) - logits.gather(1, y[:, None]).squeeze(1)


def misclassified(logits: Tensor, y: Tensor) -> Tensor:
    """Return which rows are misclassified or have a NaN logit, shape (rows,)."""
    return (logits.argmax(1) != y) | logits.isnan().any(1)


@dataclass(frozen=True)
class Ball:
    """The limits of an adversary's changes.

    Attributes:
        eps: largest distance from the image, in input units.
        norm: norm of the distance.
    """

    space: InputSpace
    eps: float
    norm: BallNorm = "linf"


def input_gradient(logits: Logits, loss: Loss, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient of each row's loss with respect to its image, and the logits. Changes no ``.grad``."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        out = logits(x)
        total = loss(out, y).sum()
        if not total.requires_grad:  # no output of the model depends differentiably on its inputs
            return torch.zeros_like(x), out.detach()
        (gradient,) = torch.autograd.grad(total, x, allow_unused=True, materialize_grads=True)
    return gradient.nan_to_num(0.0), out.detach()


def fgsm(logits: Logits, x: Tensor, y: Tensor, ball: Ball, loss: Loss = row_cross_entropy) -> Tensor:
    """Take one step of length ε along the sign of the gradient, or along the gradient itself in the Euclidean norm.

    Paper: Goodfellow et al. 2015, arXiv 1412.6572.
    """
    gradient, _ = input_gradient(logits, loss, x, y)
    return ball.space.project(x + ball.space.steepest(gradient, ball.eps, ball.norm), x, ball.eps, ball.norm)


def pgd(
    logits: Logits,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    *,
    steps: int,
    step_size: float,
    start: Tensor,
    loss: Loss = row_cross_entropy,
) -> tuple[Tensor, Tensor]:
    """Take steps of gradient ascent, each projected back onto the ball and the data's range.

    Paper: Madry et al. 2018, arXiv 1706.06083. A row stays at the first point where it is misclassified:
    any misclassified point in the ball is enough, so later steps must not undo it.

    Args:
        step_size: length of a step, in input units.
        start: first point, inside the ball.

    Returns:
        The images, and which of them are misclassified, shape (rows,).
    """
    space, at = ball.space, start
    fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for _ in range(steps):
        gradient, out = input_gradient(logits, loss, at, y)
        fooled |= misclassified(out, y)
        moved = space.project(at + space.steepest(gradient, step_size, ball.norm), x, ball.eps, ball.norm)
        at = torch.where(fooled.view(-1, 1, 1, 1), at, moved)
    with torch.no_grad():
        fooled |= misclassified(logits(at), y)
    return at, fooled


def noisy(x: Tensor, ball: Ball, random: torch.Generator) -> Tensor:
    """Return images with noise of the full size ε: a random corner of the cube, or a random point of the sphere."""
    draw = torch.randn(x.shape, generator=random, device=x.device, dtype=x.dtype)
    away = ball.space.steepest(draw * ball.space.std, ball.eps, ball.norm)
    return ball.space.project(x + away, x, ball.eps, ball.norm)
