"""Snoo, C-Flat, MEGA, CLS-ER and TRGP: their formulas, worked out another way, and what is left without them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from learners import (
    built,
    distance,
    finished,
    learner,
    loss_and_gradient,
    network,
    steps,
    stream,
    take,
    train,
    update,
    windows,
)
from torch import Tensor
from torch.func import functional_call

from gradinc.core.episodes import batch_of
from gradinc.core.learner import Learner
from gradinc.core.subspaces import layer_matrices
from gradinc.methods.c_flat import CFlat
from gradinc.methods.lookahead import Lookahead
from gradinc.methods.sam import SAM
from gradinc.methods.snoo import Snoo

PERMUTED = ("stream=permuted", "stream.tasks=3")


def until(mine: Learner, tasks: object, stop: tuple[int, int]) -> Learner:
    for place in steps(mine, tasks):
        if place == stop:
            return mine
    raise AssertionError(stop)


# ---- snoo ----


@pytest.mark.parametrize("k", [1, 3, 100])
def test_snoo_is_pytorch_s_nesterov_sgd_on_the_slow_weights(k: int) -> None:
    model, slow = network(), learner(model=network()).weights.value.clone()
    outer = torch.nn.Parameter(slow.clone())
    nesterov = torch.optim.SGD([outer], lr=0.6, momentum=0.8, nesterov=True)
    fast, batches = slow.clone(), list(windows(16, 4))
    for t, window in enumerate(batches, start=1):
        fast = fast - 0.1 * loss_and_gradient(model, fast, window)[1]
        if t % k == 0 or t == len(batches):
            outer.grad = outer.detach() - fast
            nesterov.step()
            fast = outer.detach().clone()
    ended = train(learner(Snoo(k=k, lr=0.6, momentum=0.8)), 16, 4)
    assert distance(ended, fast) < 1e-12
    assert distance(ended, train(learner(Snoo(k=k, lr=0.6, momentum=0.0)), 16, 4)) > (1e-3 if k < 100 else 1e-4)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_without_momentum_snoo_is_lookahead(k: int) -> None:
    options = {"momentum": 0.9}
    snoo = train(learner(Snoo(k=k, lr=0.4, momentum=0.0), **options), 16, 4)
    assert torch.equal(snoo, train(learner(Lookahead(k=k, alpha=0.4), **options), 16, 4))


# ---- c_flat ----


def test_c_flat_is_the_paper_s_four_gradients() -> None:
    mine, model = learner(CFlat(rho=0.3, strength=0.7)), network()
    w = mine.weights.value.clone()
    for window in windows(16, 4):
        update(mine, window)

        def at(v: Tensor, window: list = window) -> Tensor:
            return loss_and_gradient(model, v, window)[1]

        g0 = at(w)
        g1 = at(w + 0.3 * g0 / g0.norm())
        moved = w + 0.3 * (g1 - g0) / (g1 - g0).norm()
        g2 = at(moved)
        w = w - 0.1 * (g1 + 0.7 * (at(moved + 0.3 * g2 / g2.norm()) - g2))
        assert distance(mine.weights.value, w) < 1e-12
    assert mine.work.rows == 4 * mine.work.samples


def test_without_its_penalty_c_flat_is_sam() -> None:
    sam = train(learner(SAM(rho=0.2)), 16, 4)
    assert torch.equal(train(learner(CFlat(strength=0)), 16, 4), sam)
    assert distance(train(learner(CFlat()), 16, 4), sam) > 1e-3


# ---- mega ----


def mixed(kind: str, scale: float = 1.0) -> dict[str, Tensor]:
    """The gradients and losses that a MEGA in the second task mixes, and its result; `scale` multiplies past losses."""
    words = (*PERMUTED, "strategy=mega", f"strategy.methods.mega.kind={kind}")
    tasks = stream(*words)
    mine = until(built(tasks, *words), tasks, (1, 0))
    mine.begin(tasks[1])
    (batch,) = tasks[1].batches(32, rows=32)
    take(mine, [batch])
    past = batch_of(mine.methods[0].memory, 1)
    with torch.no_grad():
        mine.window.reduce(mine)
        losses = [float(mine.criterion(b, mine.model(b.x)).mean()) for b in (batch, past)]
        found = {"g": mine.weights.grad.clone(), "ref": mine.gradient(past)}
        mine.methods[0].transform(mine.weights.grad, mine)
    return {**found, "result": mine.weights.grad, "losses": torch.tensor(losses, dtype=torch.float64)}


def test_mega_1_weighs_the_past_by_the_ratio_of_losses() -> None:
    found = mixed("I")
    loss, past = found["losses"]
    assert distance(found["result"], found["g"] + past / loss * found["ref"]) < 1e-12


def test_mega_2_keeps_the_length_and_takes_the_best_of_many_angles() -> None:
    """Brute force: no angle in the plane of both gradients, from 0 to π/2, has a larger objective."""
    found = mixed("II")
    g, ref, result = found["g"], found["ref"], found["result"]
    loss, past = found["losses"]
    assert float(result.norm() / g.norm()) == pytest.approx(1, abs=1e-12)

    def cosine(a: Tensor, b: Tensor) -> Tensor:
        return torch.dot(a, b) / a.norm() / b.norm()

    across = ref - cosine(g, ref) * ref.norm() * g / g.norm()
    best = loss * cosine(result, g) + past * cosine(result, ref)
    for angle in torch.linspace(0, math.pi / 2, 2001, dtype=torch.float64):
        other = angle.cos() * g / g.norm() + angle.sin() * across / across.norm()
        assert loss * cosine(other, g) + past * cosine(other, ref) <= best + 1e-12
    assert best > loss + past * cosine(g, ref) + 1e-6, "g itself is not the best"


def test_at_equal_losses_mega_2_halves_the_angle_and_mega_1_adds() -> None:
    from gradinc.methods import mega

    g = torch.tensor([3.0, 0.0], dtype=torch.float64)
    ref = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)
    turned = mega.turned(g, ref, one, one)
    middle = g / g.norm() + ref / ref.norm()
    assert distance(turned, 3 * middle / middle.norm()) < 1e-14
    assert torch.equal(mega.added(g, ref, one, one), g + ref)
    assert torch.equal(mega.added(g, ref, 0 * one, one), ref)
    assert torch.equal(mega.turned(g, 2 * g, one, one), g)
    far = mega.turned(g, ref, one, 50 * one)
    assert abs(float(torch.dot(far, g))) < 1e-12, "90 degrees at most"


# ---- cls_er ----

CLS = ("strategy=cls_er", "strategy.methods.cls_er.stable_alpha=0.9", "strategy.methods.cls_er.plastic_alpha=0.6")
SPLIT = ("stream=split", "stream.tasks=2")


def test_the_averages_follow_the_recursion_and_freeze_at_frequency_0() -> None:
    words = (
        *SPLIT,
        *CLS,
        "strategy.methods.cls_er.stable_frequency=1.0",
        "strategy.methods.cls_er.plastic_frequency=0",
    )
    tasks = stream(*words)
    again = built(tasks, *words)
    first = replayed = again.weights.value.clone()
    counted = 0
    for _ in steps(again, tasks):
        if again.methods[0].t > counted:
            counted += 1
            alpha = min(1 - 1 / (counted + 1), 0.9)
            replayed = alpha * replayed + (1 - alpha) * again.weights.value
            assert distance(again.methods[0].stable, replayed) < 1e-12
    assert counted == 8
    assert torch.equal(again.methods[0].plastic, first)
    assert distance(again.methods[0].stable, first) > 1e-2


def test_an_average_is_updated_with_its_probability() -> None:
    words = (*SPLIT, *CLS, "strategy.methods.cls_er.stable_frequency=0.3")
    tasks = stream(*words)
    mine = built(tasks, *words)
    mine.begin(tasks[0])
    moved = 0
    for mine.place.windows in range(400):
        before = mine.methods[0].stable.clone()
        mine.weights.value.add_(1)
        mine.methods[0].stepped(mine.window, mine)
        moved += not torch.equal(mine.methods[0].stable, before)
    assert 85 < moved < 155


def test_replayed_rows_are_drawn_to_the_better_average_s_logits() -> None:
    words = (*SPLIT, *CLS, "strategy.methods.cls_er.strength=0.7", "strategy.methods.cls_er.memory=40")
    tasks = stream(*words)
    mine = until(built(tasks, *words), tasks, (1, 2))
    method, before = mine.methods[0], mine.weights.value.clone()
    (batch,) = tasks[1].batches(8, rows=8)
    full = method.batch(batch, mine)
    assert torch.equal(mine.weights.value, before)
    rows = full.x[batch.fresh :]
    logits = []
    for average in (method.stable, method.plastic):
        parts = dict(zip(mine.weights.names, mine.weights.views(average), strict=True))
        logits.append(functional_call(mine.model, parts, (rows,)))
    y = full.y[batch.fresh :, None]
    better = logits[0].softmax(1).gather(1, y) > logits[1].softmax(1).gather(1, y)
    assert 0 < int(better.sum()) < len(y)
    target = torch.where(better, *logits)
    with torch.no_grad():
        out = mine.model(full.x)
    wanted = F.cross_entropy(out, full.y) + 0.7 * (out[batch.fresh :] - target).square().mean()
    assert float(mine.objective(full, out) / full.items) == pytest.approx(float(wanted), rel=1e-12)


def test_the_stable_average_is_measured() -> None:
    words = (*SPLIT, *CLS)
    tasks = stream(*words)
    mine = finished(built(tasks, *words), tasks)
    with mine.evaluating(0):
        assert torch.equal(mine.weights.value, mine.methods[0].stable)
    assert not torch.equal(mine.weights.value, mine.methods[0].stable)


# ---- trgp ----


def trained(strategy: str, *more: str) -> Learner:
    """After three tasks, with the rows that GPM would draw."""
    words = (*PERMUTED, f"strategy={strategy}", *more)
    tasks = stream(*words)
    mine = built(tasks, *words)
    draw = mine.rng
    mine.rng = lambda purpose: draw("gpm" if purpose == "trgp" else purpose)  # type: ignore[method-assign]
    return finished(mine, tasks)


def test_without_a_related_task_trgp_is_gpm_to_the_bit() -> None:
    gpm, alone = trained("gpm"), trained("trgp", "strategy.methods.trgp.related=1.0")
    assert torch.equal(alone.weights.value, gpm.weights.value)
    assert not alone.methods[0].offsets
    trusting = trained("trgp", "strategy.methods.trgp.related=0.0")
    assert set(trusting.methods[0].offsets) == {1, 2}
    assert distance(trusting.weights.value, gpm.weights.value) > 1e-3


def second_task() -> tuple[Learner, object, Tensor]:
    words = (*PERMUTED, "strategy=trgp", "strategy.methods.trgp.related=0.0", "optimizer.momentum=0")
    tasks = stream(*words)
    mine = until(built(tasks, *words), tasks, (1, 0))
    return mine, tasks, mine.weights.value.clone()


def test_the_effective_weights_are_those_of_scales_and_weights_that_are_trained_apart() -> None:
    """Q and W as parameters of their own, with autograd and the projection of W's gradient, as in the paper."""
    mine, tasks, start = second_task()
    mine.begin(tasks[1])
    method, lr = mine.methods[0], mine.lr
    names = list(method.bases)
    base = layer_matrices(start, mine.weights, names)
    pairs = {name: [s for _, s in method.trusted[name]] for name in names}
    q = {name: [torch.eye(s.shape[1], dtype=torch.float64) for s in pairs[name]] for name in names}
    assert all(len(each) == 1 for each in pairs.values())

    def effective(w: dict[str, Tensor], q: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        made = {}
        for name in names:
            both = zip(pairs[name], q[name], strict=True)
            extra = sum(w[name] @ s @ (scale - torch.eye(len(scale))) @ s.T for s, scale in both)
            made[name] = w[name] + extra
        return made

    def loss(matrices: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        parts = {}
        for name, matrix in matrices.items():
            shape = dict(zip(mine.weights.names, mine.weights.shapes, strict=True))[f"{name}.weight"]
            parts |= {f"{name}.weight": matrix[:, :-1].reshape(shape), f"{name}.bias": matrix[:, -1]}
        return F.cross_entropy(functional_call(mine.model, parts, (x,)), y)

    for batch in tasks[1].batches(16, rows=64):
        update(mine, [batch])
        leaves = [t.requires_grad_() for t in (*base.values(), *(s for each in q.values() for s in each))]
        slopes = torch.autograd.grad(loss(effective(base, q), batch.x, batch.y), leaves)
        with torch.no_grad():
            for name, slope in zip(names, slopes, strict=False):
                u = method.bases[name]
                base[name] = base[name] - lr * (slope - slope @ u @ u.T)
            for name, slope in zip(names, slopes[len(names) :], strict=True):
                q[name] = [q[name][0] - lr * slope]
        base = {name: w.detach() for name, w in base.items()}
        q = {name: [s.detach() for s in each] for name, each in q.items()}
        now = layer_matrices(mine.weights.value, mine.weights, names)
        for name, matrix in effective(base, q).items():
            assert distance(now[name], matrix) < 1e-10, name
    mine.end(tasks[1])
    after = layer_matrices(mine.weights.value, mine.weights, names)
    assert all(distance(after[name], base[name]) < 1e-10 for name in names), "between tasks the base weights are left"
    assert distance(mine.weights.value + method.offsets[1], mine.weights.value) > 1e-3


def test_each_task_is_measured_with_its_own_scales_and_the_past_keeps_its_outputs() -> None:
    mine, tasks, _ = second_task()
    with mine.evaluating(0):
        old = mine.weights.value.clone()
    for place in steps(mine, tasks, start=(1, 0)):
        if place == (1, 6):
            with mine.evaluating(1):
                own = mine.weights.value.clone()
            assert torch.equal(own, mine.weights.value)
            with mine.evaluating(0):
                outside = layer_matrices(mine.weights.value - old, mine.weights, list(mine.methods[0].bases))
            for name, change in outside.items():
                u = mine.methods[0].bases[name]
                assert (change @ u).norm() < 1e-10 * max(1.0, float(change.norm())), name
                assert change.norm() > 1e-4
        if place == (2, 0):
            with mine.evaluating(1):
                learned = mine.weights.value.clone()
            assert not torch.equal(learned, mine.weights.value)
    with mine.evaluating(1):
        kept = mine.weights.value.clone()
    assert distance(kept, learned) > 1e-6, "the shared weights learned the third task"
