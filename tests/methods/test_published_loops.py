"""ReDo, UPGD, shrink and perturb and CLS-ER against slow loops, one unit or one weight after another.

The published programs gave the same weights as these methods on the same tensors, to 1e-13: skumar9876/L2_Init@3f86d26
(L2 Init, shrink and perturb, ReDo), timoklein/redo@3c0e2a9 (which units are dormant), shibhansh/loss-of-plasticity
@63c35f3 (continual backpropagation), mohmdelsayed/upgd@b75e90a with beta 0, WanNaa/C-Flat@8e626a3,
NeurAI-Lab/CLS-ER@73f3e63, and LYang-666/TRGP@a4b67bc apart from what the method's docstring lists.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from learners import built, distance, learner, loss_and_gradient, micro_batches, network, stream, update, windows
from torch import Tensor, nn
from torch.func import functional_call

from gradinc.base.randomness import generator
from gradinc.core.initial import drawn_from
from gradinc.data.batch import Batch
from gradinc.data.task import Setting
from gradinc.methods.redo import ReDo
from gradinc.methods.shrink_perturb import ShrinkPerturb
from gradinc.methods.upgd import UPGD


def batches(count: int) -> list[list[Batch]]:
    return list(windows(16, 4, 20))[:count]


def test_redo_is_its_loop_over_updates_and_units() -> None:
    """Each third update a unit with a small mean activation gets new incoming weights, and outgoing weights of 0."""
    model, method = network(activation=nn.ReLU), ReDo(every=3, threshold=0.5)
    method.check(model, Setting())
    mine, twin, renewed = learner(method, model=model), network(activation=nn.ReLU), 0
    w = mine.weights.value.clone()
    first = [part.clone() for part in mine.weights.views(w)]
    for t, window in enumerate(batches(15), start=1):
        update(mine, window)
        x = torch.cat([batch.x for batch in window])
        before = [part.clone() for part in mine.weights.views(w)]
        w = w - 0.1 * loss_and_gradient(twin, w, window)[1]
        if t % 3:
            continue
        active = (x @ before[0].T + before[1]).relu().mean(0)
        dormant = [i for i in range(16) if active[i] <= 0.5 * active.mean()]
        random = generator(mine.place.seed, "redo", 0, t - 1, -1)
        parts = mine.weights.views(w)
        for part, source in ((parts[0], first[0]), (parts[1], first[1])):
            for i, new in zip(dormant, drawn_from(source, (len(dormant), *part.shape[1:]), random), strict=True):
                part[i] = new
        for i in dormant:
            parts[2][:, i] = 0
        renewed += len(dormant)
        assert distance(mine.weights.value, w) < 1e-12
    assert renewed > 5


def test_upgd_is_its_loop_with_noise_over_updates() -> None:
    mine, model = learner(UPGD(beta=0.9, sigma=0.3)), network()
    w = mine.weights.value.clone()
    utility = torch.zeros_like(w)
    for t, window in enumerate(batches(8)):
        update(mine, window)
        g = loss_and_gradient(model, w, window)[1]
        utility = 0.9 * utility - 0.1 * g * w
        protected = 1 / (1 + (-utility / utility.max()).exp())
        random = generator(mine.place.seed, "upgd", 0, t, -1)
        noise = torch.randn(g.shape, generator=random, dtype=g.dtype)
        w = w - 0.1 * (g + 0.3 * noise) * (1 - protected)
        assert distance(mine.weights.value, w) < 1e-12


def test_shrink_and_perturb_is_its_loop_over_updates() -> None:
    mine, model = learner(ShrinkPerturb(shrink=0.02, perturb=0.1)), network()
    w = mine.weights.value.clone()
    first = [part.clone() for part in mine.weights.views(w)]
    for t, window in enumerate(batches(8)):
        update(mine, window)
        w = w - 0.1 * loss_and_gradient(model, w, window)[1]
        random = generator(mine.place.seed, "shrink_perturb", 0, t, -1)
        noise = torch.cat([drawn_from(part, (part.numel(),), random) for part in first])
        w = 0.98 * w + 0.1 * noise
        assert distance(mine.weights.value, w) < 1e-12


def test_cls_er_is_its_loop_with_three_networks() -> None:
    """With a memory for all rows, every stored row is replayed, so that nothing is random."""
    words = ["stream=split", "stream.tasks=3", "strategy=cls_er", "optimizer.lr=0.1"]
    options = {"memory": 500, "replay": 500, "strength": 2.0, "stable_frequency": 1, "plastic_frequency": 1}
    options |= {"stable_alpha": 0.95, "plastic_alpha": 0.6}
    words += [f"strategy.methods.cls_er.{name}={value}" for name, value in options.items()]
    tasks = stream(*words)
    mine = built(tasks, *words)
    w = [part.clone() for part in mine.weights.views(mine.weights.value)]
    averages = {0.95: [part.clone() for part in w], 0.6: [part.clone() for part in w]}

    def outputs(parts: list[Tensor], x: Tensor) -> Tensor:
        out: Tensor = functional_call(mine.model, dict(zip(mine.weights.names, parts, strict=True)), (x,))
        return out

    stored: list[tuple[Tensor, Tensor]] = []
    t = 0
    for task in tasks:
        mine.begin(task)
        for batch in micro_batches(task, 6, 10):
            leaves = [part.clone().requires_grad_() for part in w]
            x, y = batch.x, batch.y
            loss = torch.zeros((), dtype=torch.float64)
            if stored:
                old, labels = (torch.cat(each) for each in zip(*stored, strict=True))
                with torch.no_grad():
                    stable, plastic = (outputs(parts, old) for parts in averages.values())
                    right = [z.softmax(1)[torch.arange(len(labels)), labels] for z in (stable, plastic)]
                    wanted = torch.where((right[0] > right[1])[:, None], stable, plastic)
                loss = loss + 2.0 * (outputs(leaves, old) - wanted).square().mean()
                x, y = torch.cat((x, old)), torch.cat((y, labels))
            loss = loss + F.cross_entropy(outputs(leaves, x), y)
            w = [part - 0.1 * slope for part, slope in zip(w, torch.autograd.grad(loss, leaves), strict=True)]
            stored.append((batch.x, batch.y))
            t += 1
            for alpha, parts in averages.items():
                share = min(1 - 1 / (t + 1), alpha)
                for average, part in zip(parts, w, strict=True):
                    average.mul_(share).add_(part, alpha=1 - share)
            update(mine, [batch])
        mine.end(task)

    def flat(parts: list[Tensor]) -> Tensor:
        return torch.cat([part.flatten() for part in parts])

    method = mine.methods[0]
    assert distance(mine.weights.value, flat(w)) < 1e-12
    assert distance(method.stable, flat(averages[0.95])) < 1e-12
    assert distance(method.plastic, flat(averages[0.6])) < 1e-12
    assert distance(method.stable, method.plastic) > 1e-2
