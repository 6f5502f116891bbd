"""The number of rows of a finished run that an adversary can fool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gradinc.base.randomness import generator
from gradinc.data.input_space import BallNorm, InputSpace
from gradinc.data.stream import open_stream
from gradinc.runs.device import autocast_dtype, choose_device, choose_threads, pin
from gradinc.runs.trained import FinishedRun
from gradinc.studies.attacks import masking
from gradinc.studies.attacks.evasion import (
    Ball,
    Logits,
    fgsm,
    input_gradient,
    margin,
    misclassified,
    noisy,
    pgd,
    row_cross_entropy,
)

_CHUNK = 256
"""Images in one pass; fixed, since the last bits of a sum depend on it."""

ATTACKS = ("fgsm", "pgd", "margin", "noise")
"""Attacks at each ε, in this order; then ``worst``, for rows that withstand all of them."""

LOSSES = {"pgd": row_cross_entropy, "margin": margin}


@dataclass(frozen=True)
class AttackSettings:
    """Settings of the attacks.

    Attributes:
        eps: sizes in input units, 0 to 1 for images.
        steps, restarts: steps and starts of PGD; the first start is at the image, the others at random points of the
            ball.
        step_size: step of PGD in input units; None means 2.5 ε / steps, so that a row can cross the ball.
        rows: number of test rows, drawn by the seed; 0 means all.
        best: attack the weights of the best validation, not the last ones.
    """

    eps: tuple[float, ...]
    norm: BallNorm = "linf"
    steps: int = 20
    restarts: int = 2
    step_size: float | None = None
    rows: int = 1000
    seed: int = 0
    best: bool = False
    device: str = "auto"

    def length(self, eps: float) -> float:
        """The length of one step of PGD."""
        return 2.5 * eps / self.steps if self.step_size is None else self.step_size


@dataclass(frozen=True)
class AttackResult:
    """The accuracy under an attack.

    Attributes:
        accuracy: share of all rows still classified correctly.
        low, high: 95 % interval of the accuracy over the rows.
        warnings: signs of gradient masking.
    """

    attack: str
    eps: float
    accuracy: float
    low: float
    high: float
    rows: int
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """Images to attack, and the model that sees them.

    Attributes:
        chunks: pairs of images and labels with the number of the logits to use.
        logits: one model for each task; they share their weights.
    """

    space: InputSpace
    chunks: list[tuple[Tensor, Tensor, int]]
    logits: list[Logits]


def attack(run: FinishedRun, settings: AttackSettings, watch: Callable[[], None] = lambda: None) -> list[AttackResult]:
    """Return the accuracy of a finished run under each attack at each ε, the clean accuracy first.

    The run directory is only read, and the same settings give the same numbers on the same machine.

    Args:
        watch: called after each attack on a chunk of images.

    Raises:
        UserError: the run is not on images, has no such weights, or its data are missing.
    """
    return measure_attack(target_of(run, settings), settings, watch)


def target_of(run: FinishedRun, settings: AttackSettings) -> Target:
    """Return a run's model and its test rows of all tasks, or the requested number of them."""
    device = choose_device(settings.device)
    dataset = run.dataset(device=device)
    space = InputSpace.of(dataset)
    model = run.with_weights(best=settings.best, device=device).requires_grad_(False)
    pin(choose_threads(run.config.threads, model, run.shape.inputs, _CHUNK), device)
    stream = open_stream(run.config, dataset)
    autocast, last = autocast_dtype(run.config.dtype), stream.tested - 1

    def of_task(task: int) -> Logits:
        def logits(x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, dtype=autocast, enabled=autocast is not None):
                out: Tensor = model(x)
            out = out.float() if autocast is not None else out
            return out if stream.outputs is None else stream.outputs.tested(out, task, last)

        return logits

    parts = [stream.part("test", task) for task in range(stream.tested)]
    total = sum(map(len, parts))
    drawn = torch.randperm(total, generator=generator(settings.seed, "attack", "rows"))[: settings.rows or total]
    chunks, first = [], 0
    for task, part in enumerate(parts):
        own = drawn[(drawn >= first) & (drawn < first + len(part))] - first
        chunks += [(x, y, task) for x, y in part.batches(own.sort().values, _CHUNK)]
        first += len(part)
    dtype = chunks[0][0].dtype
    return Target(space.to(dtype), chunks, [of_task(task) for task in range(stream.tested)])


def measure_attack(
    target: Target, settings: AttackSettings, watch: Callable[[], None] = lambda: None
) -> list[AttackResult]:
    """Attack any model on any images, as `attack` does for a run."""
    clean, largest = _clean(target)
    measured = [_told("clean", 0.0, clean, masking.flat_gradients(largest[~clean]))]
    for eps in settings.eps:
        fooled = dict(_fooled(target, settings, eps, clean, watch))
        said = masking.at_equal_size(fooled) if eps > 0 else []
        worst = torch.stack(list(fooled.values())).any(0)
        measured += [_told(name, eps, rows) for name, rows in fooled.items()]
        measured.append(_told("worst", eps, worst, said))
    limit = limit_of(target.space, settings.norm, target.chunks[0][0][0].numel())
    fooled = dict(_fooled(target, settings, limit, clean, watch, tuple(LOSSES)))
    measured.append(
        _told("limit", limit, torch.stack(list(fooled.values())).any(0), masking.at_the_limit(fooled, limit))
    )
    return measured


def limit_of(space: InputSpace, norm: BallNorm, values: int) -> float:
    """Return the ε at which every image can become uniformly grey, so that it contains nothing to classify."""
    half = space.range / 2
    return half if norm == "linf" else half * values**0.5


def _clean(target: Target) -> tuple[Tensor, Tensor]:
    """Return which rows are misclassified without a change, and the largest entry of each row's gradient."""
    wrong, largest = [], []
    for x, y, task in target.chunks:
        gradient, out = input_gradient(target.logits[task], row_cross_entropy, x, y)
        wrong.append(misclassified(out, y))
        largest.append(masking.largest_entries(gradient, target.space.std))
    return torch.cat(wrong), torch.cat(largest)


def _fooled(
    target: Target,
    settings: AttackSettings,
    eps: float,
    clean: Tensor,
    watch: Callable[[], None],
    attacks: tuple[str, ...] = ATTACKS,
) -> Iterator[tuple[str, Tensor]]:
    """Return which rows each attack fools, shape (rows,), with the rows misclassified without a change."""
    ball = Ball(target.space, eps, settings.norm)
    for name in attacks:
        found, first = [], 0
        for number, (x, y, task) in enumerate(target.chunks):
            fooled = clean[first : first + len(y)].clone()
            first += len(y)
            for restart in range(1 if name == "fgsm" else settings.restarts):
                left = (~fooled).nonzero().squeeze(1)
                if len(left) == 0:
                    break
                random = generator(settings.seed, "attack", name, eps, number, restart, device=x.device)
                fooled[left] = _tried(name, target.logits[task], x[left], y[left], ball, settings, restart, random)
            found.append(fooled)
            watch()
        yield name, torch.cat(found)


def _tried(
    name: str,
    logits: Logits,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    settings: AttackSettings,
    restart: int,
    random: torch.Generator,
) -> Tensor:
    """Return which rows one start of an attack fools, shape (rows,)."""
    if name in LOSSES:
        start = x if restart == 0 else ball.space.random(x, ball.eps, ball.norm, random)
        length = settings.length(ball.eps)
        return pgd(logits, x, y, ball, steps=settings.steps, step_size=length, start=start, loss=LOSSES[name])[1]
    moved = fgsm(logits, x, y, ball) if name == "fgsm" else noisy(x, ball, random)
    with torch.no_grad():
        return misclassified(logits(moved), y)


def _told(attack: str, eps: float, fooled: Tensor, warnings: list[str] | None = None) -> AttackResult:
    rows = len(fooled)
    right = rows - int(fooled.sum())
    return AttackResult(attack, eps, right / rows, *masking.wilson(right, rows), rows, warnings or [])


def document(measured: list[AttackResult], run: FinishedRun, settings: AttackSettings) -> list[dict[str, Any]]:
    """Return the objects for ``--json``: one for each measurement; the first one has the run and the settings."""
    first: dict[str, Any] = {"run": str(run.path), "weights": "best" if settings.best else "last"}
    first |= {name: getattr(settings, name) for name in ("norm", "steps", "restarts", "step_size", "seed")}
    return [{**vars(each), **(first if number == 0 else {})} for number, each in enumerate(measured)]
