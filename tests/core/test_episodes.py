"""GEM and A-GEM: what does harm is projected, what agrees is left alone, and the memory is of the whole task."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from learners import built, config, digits, finished, steps, stream
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.core.episodes import rows_of, with_examples
from gradinc.core.learner import Learner
from gradinc.data.padding import PAD
from gradinc.data.task import Setting, Task
from gradinc.data.token_rows import TokenRows
from gradinc.methods.agem import AGEM
from gradinc.methods.gem import GEM
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model

PERMUTED = ("stream=permuted", "stream.tasks=4")
KINDS = (
    "stream=permuted stream.tasks=3",
    "stream=split stream.tasks=3 scenario=class",
    "stream=split stream.tasks=3 scenario=class stream.train_logits=seen",
    "stream=split stream.tasks=3 scenario=task",
    "stream=split stream.tasks=3 scenario=task stream.heads=masked",
    "stream=split stream.tasks=2 scenario=domain",
)


def in_last_task(*words: str) -> Learner:
    """A learner at the beginning of its last task."""
    tasks = stream(*words)
    made = built(tasks, *words)
    for place in steps(made, tasks):
        if place == (len(tasks) - 1, 0):
            break
    made.begin(tasks[len(tasks) - 1])
    return made


def gradients_of_the_past(made: Learner) -> list[Tensor]:
    """Of each past task's examples, one at a time and by hand."""
    (method,) = made.methods
    memory = method.memory
    if isinstance(method, AGEM):
        memory = [{name: field[memory["tasks"] == task] for name, field in memory.items()} for task in range(4)]
        memory = [rows for rows in memory if len(rows["y"])]
    found = []
    for rows in memory:
        out = made.model(rows["x"])
        masks = made.criterion.outputs
        if masks is not None and masks.train != "all":
            out = out + (masks.of_task[rows["tasks"]] if masks.train == "task" else masks.of_task.amax(0))
        loss = torch.nn.functional.cross_entropy(out, rows["y"])
        parts = torch.autograd.grad(loss, made.weights.parameters, allow_unused=True)
        parts = [torch.zeros_like(p) if g is None else g for p, g in zip(made.weights.parameters, parts, strict=True)]
        found.append(torch.cat([part.reshape(-1) for part in parts]))
    return found


def projected(made: Learner, g: Tensor) -> Tensor:
    """What the method makes of a gradient, its window's rows chosen before."""
    (method,) = made.methods
    after = g.clone()
    with torch.no_grad():
        method.transform(after, made)
    return after


@pytest.mark.parametrize("kind", KINDS)
def test_agem_takes_away_what_harms_the_past_and_leaves_alone_what_does_not(kind):
    made = in_last_task("strategy=agem", *kind.split())
    past = gradients_of_the_past(made)
    ref = torch.stack(past).mean(0)  # every task has the same share
    harmful = torch.randn(len(ref), dtype=ref.dtype, generator=torch.Generator().manual_seed(0))
    harmful -= ref * (torch.dot(harmful, ref) / torch.dot(ref, ref) + 1)
    after = projected(made, harmful)
    assert torch.dot(harmful, ref) < 0
    assert abs(torch.dot(after, ref)) < 1e-12 * torch.dot(ref, ref)
    torch.testing.assert_close(after, harmful - torch.dot(harmful, ref) / torch.dot(ref, ref) * ref)
    assert torch.equal(projected(made, -harmful), -harmful)


@pytest.mark.parametrize("kind", KINDS)
def test_gem_harms_no_past_task_and_leaves_alone_what_harms_none(kind):
    made = in_last_task("strategy=gem", "strategy.methods.gem.margin=0.0", *kind.split())
    past = torch.stack(gradients_of_the_past(made))
    random = torch.Generator().manual_seed(0)
    harmed = 0
    for _ in range(20):
        g = torch.randn(past.shape[1], dtype=past.dtype, generator=random) - 0.1 * past[0]
        after = projected(made, g)
        harmed += bool((past @ g < 0).any())
        assert (past @ after >= -1e-10 * past.norm(dim=1) * g.norm()).all()
    assert harmed > 5
    agrees = past.T @ torch.linalg.solve(past @ past.T, past.new_ones(len(past)))
    assert (past @ agrees > 0).all()
    assert torch.equal(projected(made, agrees), agrees)


def nearest_by_enumeration(past: Tensor, g: Tensor, margin: float, ridge: float) -> Tensor:
    """Of the candidates that every set of active constraints gives, the best that is allowed."""
    gram, linear = (past @ past.T).numpy() + ridge * np.eye(len(past)), (past @ g).numpy()
    best, least = None, np.inf
    for free in product([False, True], repeat=len(past)):
        v = np.full(len(past), margin)
        chosen = np.flatnonzero(free)
        if len(chosen):
            held = np.flatnonzero(~np.array(free))
            rest = linear[chosen] + gram[np.ix_(chosen, held)] @ v[held]
            v[chosen] = np.linalg.pinv(gram[np.ix_(chosen, chosen)], rcond=1e-12, hermitian=True) @ -rest
        objective = 0.5 * v @ gram @ v + linear @ v
        if (v >= margin - 1e-9).all() and objective < least - 1e-12:
            best, least = v, objective
    return g + past.T @ torch.from_numpy(best)


@pytest.mark.parametrize(("margin", "ridge"), [(0.0, 0.0), (0.5, 0.0), (0.5, 0.1)])
@pytest.mark.parametrize("twice", [False, True], ids=["independent", "singular"])
def test_gem_solves_its_quadratic_programme(margin, ridge, twice):
    """Also where two past tasks have the same examples, so that the matrix of products is singular."""
    options = (f"strategy.methods.gem.margin={margin}", f"strategy.methods.gem.ridge={ridge}")
    made = in_last_task("strategy=gem", *options, *PERMUTED)
    (method,) = made.methods
    if twice:
        method.memory = [*method.memory, method.memory[0]]
    past = torch.stack(gradients_of_the_past(made))
    random = torch.Generator().manual_seed(0)
    for _ in range(20):
        weights = torch.randn(len(past), dtype=past.dtype, generator=random)
        g = past.T @ weights + 0.1 * torch.randn(past.shape[1], dtype=past.dtype, generator=random)
        if (past @ g >= 0).all():
            continue
        torch.testing.assert_close(
            projected(made, g), nearest_by_enumeration(past, g, margin, ridge), rtol=1e-8, atol=1e-9
        )


def test_a_ridge_bounds_the_change_where_the_gradients_of_the_past_are_small():
    """Without it, the product with a small gradient is made positive at any cost."""
    exact = in_last_task("strategy=gem", *PERMUTED)
    bounded = in_last_task("strategy=gem", "strategy.methods.gem.ridge=0.001", *PERMUTED)
    past = torch.stack(gradients_of_the_past(exact))
    small = 1e-3 / past.norm(dim=1).max() * past
    g = -small.sum(0) / small.sum(0).norm()
    for made in (exact, bounded):
        made.methods[0].memory = [{"x": row, "y": row[:1], "tasks": row[:1]} for row in small]
        made.gradient = lambda batch: batch.x
    assert (small @ projected(exact, g) >= -1e-12).all()
    assert projected(exact, g).norm() < 0.9
    assert (small @ projected(bounded, g)).min() < 0
    assert projected(bounded, g).norm() > 0.99


def test_a_margin_favours_the_past_and_still_harms_no_task():
    plain = in_last_task("strategy=gem", "strategy.methods.gem.margin=0.0", *PERMUTED)
    biased = in_last_task("strategy=gem", "strategy.methods.gem.margin=0.0", *PERMUTED)
    biased.methods[0].margin = 2.0
    past = torch.stack(gradients_of_the_past(plain))
    g = -past.sum(0)
    assert (past @ projected(biased, g) >= -1e-9).all()
    assert (past @ projected(biased, g)).sum() > (past @ projected(plain, g)).sum() + 0.1


@pytest.mark.parametrize("g", [torch.zeros, torch.ones])
@pytest.mark.parametrize("strategy", ["agem", "gem"])
def test_gradients_of_0_are_no_division_by_0(strategy, g):
    """The model has learned the past by heart: its gradients there are exactly 0."""
    made = in_last_task(f"strategy={strategy}", *PERMUTED)
    made.gradient = lambda batch: torch.zeros_like(made.weights.grad)
    before = g(len(made.weights), dtype=torch.float64)
    assert torch.equal(projected(made, before), before)


@pytest.mark.parametrize("strategy", ["agem strategy.methods.agem.sample=7", "agem", "gem"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_window_is_the_large_batch(kind, strategy):
    """One projection for each window: micro-batches that are projected one by one come elsewhere."""
    words = (*f"strategy={strategy}".split(), *kind.split())
    tasks = stream(*words)
    windows = finished(built(tasks, *words), tasks, count=8, size=4, window=4)
    large = finished(built(tasks, *words), tasks, count=2, size=16, window=1)
    assert float((windows.weights.value - large.weights.value).norm() / large.weights.value.norm()) < 1e-10
    singly = finished(built(tasks, *words), tasks, count=8, size=4, window=1)
    assert float((singly.weights.value - large.weights.value).norm() / large.weights.value.norm()) > 1e-3


@pytest.mark.parametrize("strategy", ["agem", "gem"])
def test_the_memory_has_the_same_number_of_rows_of_each_task_drawn_from_all_of_it(strategy):
    """Not the rows of the last batch, nor the first ones: it reaches to both ends of the task."""
    words = (f"strategy={strategy}", f"strategy.methods.{strategy}.memory=123", *PERMUTED)
    tasks = stream(*words)
    made = finished(built(tasks, *words), tasks)
    (method,) = made.methods
    for task in tasks:
        rows = method.memory
        rows = rows[task.index] if strategy == "gem" else {n: f[rows["tasks"] == task.index] for n, f in rows.items()}
        assert len(rows["y"]) == 123 // 4
        (all_rows,) = task.batches(len(task.train))
        places = [
            int(((all_rows.x == x).flatten(1).all(1) & (all_rows.y == y)).nonzero()[0])
            for x, y in zip(rows["x"], rows["y"], strict=True)
        ]
        assert len(set(places)) == 123 // 4
        assert min(places) < len(task.train) / 5
        assert max(places) > len(task.train) * 4 / 5
    assert method.nbytes == 4 * (123 // 4) * (64 * 8 + 8 + 8)


def test_the_unit_of_the_memory_is_the_stream_s():
    for unit, rows in (("total", 20 // 4), ("task", 20), ("class", 20 * 10 // 4)):
        words = ("strategy=agem", "strategy.methods.agem.memory=20", f"stream.memory_unit={unit}", *PERMUTED)
        tasks = stream(*words)
        made = built(tasks, *words)
        made.end(tasks[0])
        assert len(made.methods[0].memory["y"]) == rows


@pytest.mark.parametrize("strategy", ["agem", "gem"])
def test_a_memory_with_no_room_for_every_task_is_refused(strategy):
    words = (f"strategy={strategy}", f"strategy.methods.{strategy}.memory=3", *PERMUTED)
    tasks = stream(*words)
    model = build_model(config(*words), Shape(digits().shape, 10), torch.device("cpu"))
    with pytest.raises(UserError, match=r"memory=3: leaves less than one .* for each of 4 tasks\. Use 4 or more"):
        build_learner(config(*words), model, build_criterion(digits(), tasks.outputs), tasks.longest, tasks)


def test_agem_draws_its_sample_anew_for_each_window():
    made = in_last_task("strategy=agem", "strategy.methods.agem.sample=9", *PERMUTED)
    (method,) = made.methods
    seen = []
    for batch in stream(*PERMUTED)[3].batches(8, rows=32):
        if made.window.taken == 0:
            made.open(16, 2)
        made.take(batch)
        seen.append(method.chosen)
        if made.window.taken == 2:
            made.update()
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[2], seen[3])
    assert not torch.equal(seen[0], seen[2])
    assert all(len(set(chosen.tolist())) == 9 for chosen in seen)


def test_what_was_removed_and_how_often_is_noted():
    for strategy in ("agem", "gem"):
        words = (f"strategy={strategy}", *PERMUTED)
        tasks = stream(*words)
        notes = finished(built(tasks, *words), tasks).drain()["notes"]
        assert 0 < notes["violated"] <= 1
        assert notes["removed"] > 0


def test_gem_accepts_nearly_parallel_gradients_in_single_precision():
    torch.manual_seed(0)
    method = GEM(margin=0.0)
    base = torch.randn(1000)
    rows = [base + 1e-6 * torch.randn(1000) for _ in range(15)]
    method.memory = [{"x": row, "y": torch.zeros(1), "tasks": torch.zeros(1)} for row in rows]

    class Given:
        gradient = staticmethod(lambda batch: batch.x)
        note = staticmethod(lambda name, value: None)

    g = -base
    method.transform(g, Given())
    assert g.isfinite().all()
    assert (torch.stack(rows) @ g).min() > -1e-4 * base.norm() ** 2


@pytest.mark.parametrize("each", [False, True], ids=["labels", "a target for each token"])
def test_an_episodic_memory_stores_rows_of_tokens_without_padding(each):
    lengths = torch.tensor([1, 5, 3, 40, 2, 4])
    starts = (lengths + 1).cumsum(0) - lengths - 1
    values = torch.arange(int((lengths + 1).sum())).int()
    rows = TokenRows(values, starts, lengths, None if each else torch.arange(6), 40, torch.float32)
    terms = lengths.double() if each else None
    task = Task(0, (0, 1), rows, rows, rows, Setting(tasks=2), terms=terms)
    random = torch.Generator().manual_seed(0)
    memory = with_examples(with_examples({}, task, 12, random), task, 12, random)
    assert len(memory["tasks"]) == 12
    assert sum(field.numel() for field in memory.values()) < 12 * 40, "less than the inputs alone with padding"
    order = [(rows_of(memory)["x"] != PAD).sum(1).tolist().index(int(length)) for length in lengths]
    whole = rows_of(memory, torch.tensor(order))
    (same,) = task.batches(6)
    assert torch.equal(whole["x"], same.x)
    assert torch.equal(whole["y"], same.y)
    short = rows_of(memory, torch.tensor([order[0], order[2]]))
    assert short["x"].shape == (2, 3), "padded to the longest of the chosen rows"
    assert torch.equal(short["x"], same.x[[0, 2], :3])
