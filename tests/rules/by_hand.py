"""The rules once more, each written for a few small gradients as its formula says, slowly."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from learners import learner, micro_gradient, micro_gradients, rule
from torch import Tensor

from gradinc.base.randomness import generator
from gradinc.data.batch import Batch


def expected(
    name: str, batches: Sequence[Batch], at: Tensor | None = None, center: Tensor | None = None, draw: int = 1
) -> Tensor:
    """What a rule with its default options must give for the first window of a run, shape (P,).

    Args:
        at: weights at which the gradients are taken.
        center: what the rule gave before, for `centered_clip`.
    """
    rows = micro_gradients(batches, at)
    items = [batch.items for batch in batches]
    match name:
        case "mean":
            return mean(rows, items)
        case "sum":
            return mean(rows, items) * sum(items)
        case "ema":
            return mean(rows, [n * 0.9 ** (len(items) - k) for k, n in enumerate(items)])
        case "median":
            return median(rows, items)
        case "trimmed":
            return trimmed(rows, items, min(-(-len(items) // 4), (len(items) - 1) // 2))
        case "centered_clip":
            v = torch.zeros_like(rows[0]) if center is None else center
            return v + mean(torch.stack([(g - v) * min(1, 1 / (g - v).norm()) for g in rows]), items)
        case "sign_vote":
            return rows.sign().sum(0).sign()
        case "agreement":
            return agreement(rows, items, 1.0)
        case "pcgrad":
            return pcgrad(rows, items)
        case "upgrad":
            return upgrad(rows, items)
        case "dp":
            return differentially_private(batches, at, draw)
        case "msam":
            w = learner(rule=rule("mean")).weights.value if at is None else at
            uphill = [w + 0.05 * g / g.norm() for g in rows]
            return mean(torch.stack([micro_gradient(b, up) for b, up in zip(batches, uphill, strict=True)]), items)
    raise NotImplementedError(f"write the rule {name} by hand here")


def differentially_private(batches: Sequence[Batch], at: Tensor | None, draw: int) -> Tensor:
    total = torch.zeros_like(learner(rule=rule("mean")).weights.value)
    for batch in batches:
        for k in range(len(batch.x)):
            weight = None if batch.weight is None else batch.weight[k : k + 1]
            g = micro_gradient(Batch(batch.x[k : k + 1], batch.y[k : k + 1], 0, 1.0, weight), at)
            total += g * min(1, 1 / g.norm())
    noise = torch.randn(total.shape, generator=generator(0, "dp", 0, 0, draw), dtype=total.dtype)
    return (total + noise) / sum(batch.items for batch in batches)


def mean(rows: Tensor, items: Sequence[float]) -> Tensor:
    return sum(n * g for n, g in zip(items, rows, strict=True)) / sum(items)  # type: ignore[return-value]


def median(rows: Tensor, items: Sequence[float]) -> Tensor:
    """With each micro-batch counted once for each of its rows."""
    repeated = np.repeat(rows.numpy(), [int(n) for n in items], axis=0)
    return torch.from_numpy(np.median(repeated, axis=0))


def trimmed(rows: Tensor, items: Sequence[float], cut: int) -> Tensor:
    values = []
    for column in rows.T.tolist():
        kept = sorted(zip(column, items, strict=True))[cut : len(items) - cut]
        values.append(sum(g * n for g, n in kept) / sum(n for _, n in kept))
    return torch.tensor(values, dtype=rows.dtype)


def agreement(rows: Tensor, items: Sequence[float], tau: float) -> Tensor:
    kept = [0]
    for k in range(1, len(rows)):
        so_far = mean(rows[kept], [items[i] for i in kept])
        if 1 - torch.cosine_similarity(so_far, rows[k], dim=0) <= tau:
            kept.append(k)
    return mean(rows[kept], [items[i] for i in kept])


def pcgrad(rows: Tensor, items: Sequence[float]) -> Tensor:
    """On the gradients themselves, in the order that a learner with seed 0 draws for its first window."""
    draw = int(torch.randint(2**62, (), generator=learner(rule=rule("mean")).rng("pcgrad")))
    random = np.random.default_rng(draw)
    projected = []
    for i, g in enumerate(rows):
        g = g.clone()
        for j in random.permutation(len(rows)):
            if j != i and g @ rows[j] < 0:
                g -= (g @ rows[j]) / (rows[j] @ rows[j]) * rows[j]
        projected.append(g)
    return mean(torch.stack(projected), items)


def upgrad(rows: Tensor, items: Sequence[float]) -> Tensor:
    """Each projection by trying every set of gradients that it might have to be orthogonal to."""
    matrix = rows.numpy()
    nearest = [(np.inf, g) for g in matrix]
    for chosen in itertools.product((False, True), repeat=len(matrix)):
        basis = np.linalg.qr(matrix[list(chosen)].T)[0]
        for k, g in enumerate(matrix):
            x = g - basis @ (basis.T @ g)
            if (matrix @ x >= -1e-12).all():
                nearest[k] = min(nearest[k], (np.linalg.norm(x - g), x), key=lambda found: found[0])
    return mean(torch.from_numpy(np.stack([x for _, x in nearest])), items)
