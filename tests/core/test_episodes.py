"""GEM and A-GEM: what does harm is projected, what agrees is left alone, and the memory is of the whole task."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from learners import built, config, digits, finished, steps, stream
from scipy.stats import chisquare
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.config.catalog import load_part
from gradinc.core.episodes import check_share, drawn, rows_of, with_examples
from gradinc.core.learner import Learner
from gradinc.data.padding import PAD
from gradinc.data.rows import TensorRows
from gradinc.data.task import Setting, Task
from gradinc.data.text import Tokens
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


@pytest.mark.parametrize(
    "strategy", ["agem strategy.methods.agem.sample=7", "agem strategy.methods.agem.kind=balanced", "agem", "gem"]
)
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


def of_classes(*rows: int) -> Task:
    """A task with so many rows of each class, in a random order; a row's input is its number."""
    y = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(rows))
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
    part = TensorRows(torch.arange(len(y))[:, None].double(), y)
    return Task(0, tuple(range(len(rows))), part, part, part)


def counts(task: Task, count: int, kind: str, seed: int = 0) -> list[int]:
    """Rows of each class that are drawn; no row twice."""
    rows = drawn(task, count, torch.Generator().manual_seed(seed), kind)
    assert len(rows["x"].unique()) == len(rows["x"])
    assert torch.equal(task.train.y[rows["x"].flatten().long()], rows["y"])
    return rows["y"].bincount(minlength=len(task.classes)).tolist()


def test_balanced_examples_are_the_same_number_of_each_class_and_random_ones_are_not():
    assert counts(of_classes(30, 50, 400), 60, "balanced") == [20, 20, 20]
    assert counts(of_classes(30, 50, 400), 60, "random")[2] > 40


def test_balanced_examples_of_a_class_with_too_few_rows_are_replaced_by_rows_of_the_others():
    assert counts(of_classes(4, 50, 400), 60, "balanced") == [4, 28, 28]
    assert counts(of_classes(4, 20, 400), 60, "balanced") == [4, 20, 36]
    assert counts(of_classes(4, 20, 30), 60, "balanced") == [4, 20, 30], "all rows of a smaller task"
    assert counts(of_classes(0, 20, 30), 20, "balanced") == [0, 10, 10]


def test_the_remainder_of_balanced_examples_is_of_random_classes_and_so_are_their_rows():
    task, larger, seen = of_classes(30, 50, 400), torch.zeros(3), torch.zeros(480)
    for seed in range(300):
        found = torch.tensor(counts(task, 31, "balanced", seed))
        assert sorted(found.tolist()) == [10, 10, 11]
        larger += found == 11
        seen[drawn(task, 31, torch.Generator().manual_seed(seed), "balanced")["x"].flatten().long()] += 1
    assert chisquare(larger).pvalue > 1e-3, "also where a class has more rows than the others"
    for label in range(3):  # rows of one class exclude each other: their counts vary less than independent ones
        assert chisquare(seen[task.train.y == label]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("strategy", "option"), [("agem", "kind"), ("gem", "kind"), ("mega", "memory_kind")], ids=["agem", "gem", "mega"]
)
def test_a_balanced_memory_has_the_same_number_of_each_class_of_each_task(strategy, option):
    words = (f"strategy={strategy}", f"strategy.methods.{strategy}.memory=20", "stream.memory_unit=task", *PERMUTED)
    tasks = stream(*words)

    def stored(*more: str) -> list[dict[str, Tensor]]:
        (method,) = finished(built(tasks, *words, *more), tasks).methods
        rows = method.memory
        return rows if strategy == "gem" else [{n: f[rows["tasks"] == t] for n, f in rows.items()} for t in range(4)]

    balanced = stored(f"strategy.methods.{strategy}.{option}=balanced")
    assert [rows["y"].bincount(minlength=10).tolist() for rows in balanced] == [[2] * 10] * 4
    usual = stored()
    assert all(len(rows["y"]) == 20 for rows in usual)
    assert [rows["y"].bincount(minlength=10).tolist() for rows in usual] != [[2] * 10] * 4
    for rows, same in zip(usual, stored(f"strategy.methods.{strategy}.{option}=random"), strict=True):
        assert torch.equal(rows["x"], same["x"])


def test_random_examples_are_the_first_of_a_permutation():
    """The draws of runs from before there were balanced ones."""
    task = of_classes(30, 50, 400)
    order = torch.randperm(480, generator=torch.Generator().manual_seed(3))[:60]
    random = torch.Generator().manual_seed(3)
    assert torch.equal(drawn(task, 60, random)["x"].flatten().long(), order)
    other = torch.Generator().manual_seed(3)
    torch.randperm(480, generator=other)
    assert torch.equal(random.get_state(), other.get_state()), "and nothing else is drawn"


@pytest.mark.parametrize(
    ("strategy", "option"), [("agem", "kind"), ("gem", "kind"), ("mega", "memory_kind")], ids=["agem", "gem", "mega"]
)
def test_balanced_examples_of_targets_that_are_no_classes_are_refused(strategy, option):
    method = load_part("method", strategy)
    what = rf"{strategy}\.{option}=balanced: needs classes, and the targets of these data are %s\. Use {option}=random"
    numbers, tokens = Setting(outputs=1), Setting(outputs=9, text=Tokens(9, each=True))
    for setting, name in ((numbers, "numbers"), (tokens, "tokens")):
        with pytest.raises(UserError, match=what % name):
            method(**{option: "balanced"}).check(torch.nn.Linear(1, 1), setting)
        method().check(torch.nn.Linear(1, 1), setting)
    part = TensorRows(torch.zeros(4, 1), torch.zeros(4, 1))
    with pytest.raises(UserError, match="need classes"):
        drawn(Task(0, None, part, part, part), 2, torch.Generator(), "balanced")


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


def test_the_examples_that_tasks_need_are_named_in_the_unit_of_the_option():
    per_class = Setting(25, 10, "class", classes=10)
    with pytest.raises(UserError, match=r"leaves less than one .* 25 tasks\. Use 3 or more for each class, or "):
        check_share("agem", 2, per_class)
    check_share("agem", 3, per_class)
    check_share("agem", 1, Setting(25, 10, "task", classes=10))


def test_a_memory_in_units_of_tasks_needs_their_number():
    with pytest.raises(UserError, match="tasks: is not given"):
        Setting(0, 10, "task").capacity(5)
    assert Setting(0, 10, "class", classes=10).capacity(5) == 50


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
