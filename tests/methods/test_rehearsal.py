"""Replay and distillation: what is kept, what is drawn, and what the loss of it is."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from learners import built, config, finished, micro_batches, restored, steps, stream, update
from torch import Tensor
from torch.func import functional_call

from gradinc.base.errors import UserError
from gradinc.base.randomness import generator
from gradinc.config.compose import load_config
from gradinc.core.learner import Learner
from gradinc.data.batch import Batch
from gradinc.data.dataset import load_dataset
from gradinc.data.stream import Stream, open_stream
from gradinc.methods.mir import MIR
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model
from gradinc.runs.evaluate import evaluate

PERMUTED = ("stream=permuted", "stream.tasks=3")
SPLIT = ("stream=split", "stream.tasks=3")
FILLED_AS_THEY_COME = ("er", "er_ace", "der", "derpp", "mir")


def made(strategy: str, *words: str, kind: tuple[str, ...] = SPLIT) -> tuple[Learner, Stream]:
    given = tuple(word.replace("~", f"strategy.methods.{strategy}") for word in words)
    chosen = (f"strategy={strategy}", *kind, *given)
    tasks = stream(*chosen)
    return built(tasks, *chosen), tasks


def until(going: Learner, tasks: Stream, stop: tuple[int, int], **options: int) -> Learner:
    for place in steps(going, tasks, **options):
        if place == stop:
            return going
    raise AssertionError(stop)


def taken(going: Learner, batch: Batch) -> tuple[Batch, Tensor]:
    """What a learner makes of a micro-batch of the stream, and the mean gradient of it; the learner is as before."""
    before = copy.deepcopy(going.state_dict())
    going.open(batch.items, 1)
    full = batch
    for method in going.methods:
        full = method.batch(full, going)
    going.take(batch)
    going.window.reduce(going)
    gradient = going.weights.grad.clone()
    going.window.close()
    going.load_state_dict(before)
    return full, gradient


def differentiated(going: Learner, objective: Any) -> Tensor:
    """The slow reference: the gradient of a function of the model, as a function of inputs."""
    w = going.weights.value.clone().requires_grad_()
    parts = dict(zip(going.weights.names, going.weights.views(w), strict=True))
    objective(lambda x: functional_call(going.model, parts, (x,))).backward()
    return w.grad


# ---- what is kept ----


@pytest.mark.parametrize("strategy", FILLED_AS_THEY_COME)
def test_a_window_of_micro_batches_fills_the_memory_as_the_large_batch_does(strategy: str) -> None:
    memories = []
    for count, size, window in ((12, 4, 4), (3, 16, 1)):
        going, tasks = made(strategy, "~.memory=20")
        memories.append(finished(going, tasks, count=count, size=size, window=window).methods[0].memory)
    one, other = memories
    assert one.seen == other.seen == 3 * 48
    for name in ("x", "y", "tasks"):
        assert torch.equal(one.rows()[name], other.rows()[name]), name


@pytest.mark.parametrize("strategy", [*FILLED_AS_THEY_COME, "gss"])
def test_rows_of_the_stream_are_kept_once_and_replayed_ones_are_not_offered_again(strategy: str) -> None:
    going, tasks = made(strategy, "~.memory=1000")
    memory = finished(going, tasks).methods[0].memory
    assert len(memory) == memory.seen == 3 * 64
    shown = torch.cat([b.x for task in tasks for b in micro_batches(task, 8, 8)])
    assert torch.equal(memory.rows()["x"], shown)
    assert memory.rows()["tasks"].tolist() == [task for task in range(3) for _ in range(64)]


@pytest.mark.parametrize("strategy", ["der", "derpp"])
def test_logits_are_those_of_insertion_time(strategy: str) -> None:
    going, tasks = made(strategy, "~.memory=1000")
    given = []
    forward = going.model.forward

    def recorded(x: Tensor) -> Tensor:
        out = forward(x)
        given.append(out.detach()[:8])
        return out

    going.model.forward = recorded
    memory = finished(going, tasks).methods[0].memory
    going.model.forward = forward
    assert torch.equal(memory.rows()["logits"], torch.cat(given))
    with torch.no_grad():
        now = going.model(memory.rows()["x"])
    assert float((now - memory.rows()["logits"]).abs().max()) > 0.1


@pytest.mark.parametrize("strategy", [*FILLED_AS_THEY_COME, "gss"])
def test_before_there_is_a_memory_it_is_plain_accumulation(strategy: str) -> None:
    going, tasks = made(strategy)
    plain = built(tasks, *SPLIT)
    for one in (going, plain):
        until(one, tasks, (0, 2))
    assert torch.equal(going.weights.value, plain.weights.value)
    for one in (going, plain):
        until(one, tasks, (0, 4))
    assert not torch.equal(going.weights.value, plain.weights.value)


@pytest.mark.parametrize("strategy", ["fdr", "lwf"])
def test_what_needs_an_old_task_is_plain_training_in_the_first(strategy: str) -> None:
    going, tasks = made(strategy)
    plain = built(tasks, *SPLIT)
    for one in (going, plain):
        until(one, tasks, (1, 0))
    assert torch.equal(going.weights.value, plain.weights.value)
    for one in (going, plain):
        finished(one, tasks, start=(1, 0))
    assert not torch.equal(going.weights.value, plain.weights.value)


# ---- the loss ----


@pytest.fixture(params=[SPLIT, (*SPLIT, "scenario=task"), (*SPLIT, "scenario=task", "stream.heads=masked"), PERMUTED])
def kind(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Class-incremental, heads of their own, one head with masks, and tasks that share all outputs."""
    return request.param


def masks(going: Learner, batch: Batch) -> Tensor:
    """0 for the outputs of each row's own task and -∞ for the others, made without the criterion."""
    outputs = going.criterion.outputs
    if outputs is None or outputs.train == "all":
        return torch.zeros(len(batch.y), going.model(batch.x[:1]).shape[1], dtype=torch.float64)
    return torch.stack([outputs.of_task[int(task)] for task in batch.task_of_rows]).double()


def test_er_trains_on_the_mean_of_both(kind: tuple[str, ...]) -> None:
    going, tasks = made("er", "~.replay=20", kind=kind)
    until(going, tasks, (1, 4))
    batch, gradient = taken(going, micro_batches(tasks[1], 1, 8)[0])
    assert (batch.fresh, batch.replayed) == (8, 20)
    assert batch.tasks.unique().tolist() == [0, 1]
    wanted = differentiated(going, lambda f: F.cross_entropy(f(batch.x) + masks(going, batch), batch.y))
    torch.testing.assert_close(gradient, wanted)


def test_naive_rehearsal_stores_rows_of_ended_tasks_only(kind: tuple[str, ...]) -> None:
    going, tasks = made("naive_rehearsal", "~.memory=40", "~.replay=20", kind=kind)
    until(going, tasks, (0, 4))
    assert len(going.methods[0].memory) == 0
    until(going, tasks, (1, 4), start=(0, 4))
    memory = going.methods[0].memory
    assert memory.rows()["tasks"].tolist() == [0] * 40
    first = {tuple(row.flatten().tolist()) for row in memory.rows()["x"]}
    batch, gradient = taken(going, micro_batches(tasks[1], 1, 8)[0])
    assert (batch.fresh, batch.replayed) == (8, 20)
    assert batch.tasks[8:].tolist() == [0] * 20
    wanted = differentiated(going, lambda f: F.cross_entropy(f(batch.x) + masks(going, batch), batch.y))
    torch.testing.assert_close(gradient, wanted)
    until(going, tasks, (2, 0), start=(1, 4))
    rows = memory.rows()
    assert rows["tasks"].bincount().tolist() == [20, 20]
    left = {tuple(row.flatten().tolist()) for row in rows["x"][rows["tasks"] == 0]}
    assert left < first, "rows of the first task leave, none enters"


@pytest.mark.parametrize("strategy", ["der", "derpp"])
def test_dark_replay_is_the_paper_s_sum(strategy: str, kind: tuple[str, ...]) -> None:
    options = ["~.alpha=0.7"] + (["~.beta=0.3"] if strategy == "derpp" else [])
    going, tasks = made(strategy, "~.replay=20", *options, kind=kind)
    until(going, tasks, (1, 4))
    batch, gradient = taken(going, micro_batches(tasks[1], 1, 8)[0])
    mask = masks(going, batch)

    def objective(f: Any) -> Tensor:
        out = f(batch.x)
        total = F.cross_entropy(out[:8] + mask[:8], batch.y[:8])
        kept = next(value for name, value in batch.kept.items() if name in ("der.logits", "derpp_logits.logits"))
        counts = mask[8:28].isfinite()
        total = total + 0.7 * F.mse_loss(out[8:28][counts], kept[counts])
        if strategy == "derpp":
            total = total + 0.3 * F.cross_entropy(out[28:] + mask[28:], batch.y[28:])
        return total

    assert batch.replayed == (20 if strategy == "der" else 40)
    torch.testing.assert_close(gradient, differentiated(going, objective))


def test_ace_masks_the_stream_s_rows_and_no_others():
    going, tasks = made("er_ace", "~.replay=20")
    until(going, tasks, (1, 4))
    fresh = micro_batches(tasks[1], 1, 8)[0]
    batch, gradient = taken(going, fresh)
    present, seen = set(fresh.y.tolist()), set(tasks[0].classes) | set(tasks[1].classes)
    counting = [c in present or c not in seen for c in range(10)]
    assert 2 <= sum(counting) < 10

    def objective(f: Any, all_rows: bool = False) -> Tensor:
        out, mask = f(batch.x), torch.tensor([0.0 if c else float("-inf") for c in counting])
        return F.cross_entropy(out[:8] + mask, batch.y[:8]) + F.cross_entropy(out[8:], batch.y[8:])

    torch.testing.assert_close(gradient, differentiated(going, objective))
    bias = going.weights.views(gradient)[-1]
    old = sorted(seen - present)
    p = going.model(batch.x[8:]).softmax(1).mean(0) - F.one_hot(batch.y[8:], 10).double().mean(0)
    torch.testing.assert_close(bias[old], p[old], msg="old classes hear of replayed rows only")


def test_ace_masks_nothing_in_the_first_task():
    going, tasks = made("er_ace")
    until(going, tasks, (0, 4))
    assert taken(going, micro_batches(tasks[0], 1, 8)[0])[0].mask is None


def test_fdr_holds_the_softmax_of_the_end_of_each_row_s_task(kind: tuple[str, ...]) -> None:
    going, tasks = made("fdr", "~.memory=40", "~.replay=15", "~.alpha=0.6", kind=kind)
    until(going, tasks, (1, 0))
    memory = going.methods[0].memory
    rows = memory.rows()
    of_old = Batch(rows["x"], rows["y"], 0, 40.0, tasks=rows["tasks"])
    with torch.no_grad():
        torch.testing.assert_close(rows["softmax"], (going.model(of_old.x) + masks(going, of_old)).softmax(1))
    kept = rows["softmax"].clone()
    going.begin(tasks[1])
    batch, gradient = taken(going, micro_batches(tasks[1], 1, 8)[0])
    plain = differentiated(going, lambda f: F.cross_entropy(f(batch.x[:8]) + masks(going, batch)[:8], batch.y[:8]))
    torch.testing.assert_close(gradient, plain, msg="nothing has moved yet")
    until(going, tasks, (2, 0), start=(1, 0))
    assert memory.rows()["tasks"].bincount().tolist() == [20, 20]
    old = memory.rows()["softmax"][memory.rows()["tasks"] == 0]
    assert all(bool((kept == row).all(1).any()) for row in old), "what is kept of the first task is what was kept"
    going.begin(tasks[2])
    batch, gradient = taken(going, micro_batches(tasks[2], 1, 8)[0])

    def objective(f: Any) -> Tensor:
        p = f(batch.x) + masks(going, batch)
        distance = (p[8:].softmax(1) - batch.kept["fdr.softmax"]).square().sum(1)
        return F.cross_entropy(p[:8], batch.y[:8]) + 0.6 * (distance + 1e-12).sqrt().mean()

    torch.testing.assert_close(gradient, differentiated(going, objective))


def test_fdr_ahead_makes_the_two_steps_of_ders_program(kind: tuple[str, ...]) -> None:
    """One step for the loss, and from there one for the distance, on all rows of the memory."""
    going, tasks = made("fdr_ahead", "~.memory=40", "~.replay=40", "~.alpha=0.6", kind=kind)
    until(going, tasks, (1, 4))
    stored = going.methods[0].memory.rows()
    fresh = micro_batches(tasks[1], 5, 8)[4]
    old = Batch(stored["x"], stored["y"], 1, 40.0, tasks=stored["tasks"])
    value, lr = going.weights.value, going.lr
    before = value.clone()

    def loss(f: Any) -> Tensor:
        return F.cross_entropy(f(fresh.x) + masks(going, fresh), fresh.y)

    def distance(f: Any) -> Tensor:
        moved = (f(old.x) + masks(going, old)).softmax(1) - stored["softmax"]
        return 0.6 * (moved.square().sum(1) + 1e-12).sqrt().mean()

    first = lr * differentiated(going, loss)
    together = before - first - lr * differentiated(going, distance)
    value.sub_(first)
    wanted = value - lr * differentiated(going, distance)
    value.copy_(before)
    update(going, [fresh])
    torch.testing.assert_close(going.weights.value, wanted, rtol=1e-12, atol=1e-14)
    assert float((going.weights.value - together).norm()) > 1e-4 * float(first.norm()), "one objective is another step"


# ---- what is drawn ----


def test_the_two_batches_of_derpp_are_drawn_independently():
    """Of 64 rows each has 16: they share 4 on average. One batch used twice shares all of its 16."""
    going, tasks = made("derpp", "~.replay=16")
    finished(going, tasks, count=8, size=8)
    method = going.methods[0]
    assert len(method.memory) == 192
    shared = []
    fresh = micro_batches(tasks[2], 1, 8)[0]
    for step in range(200):
        going.place.windows = 1000 + step
        batch = method.batch(fresh, going)
        first, second = (batch.part(name, batch.x)[0].x.flatten(1) for name in batch.parts)
        shared.append(sum(bool((row == second).all(1).any()) for row in first))
    assert sum(shared) / 200 == pytest.approx(16 * 16 / 192, abs=0.3)
    assert len(set(shared)) > 2


def test_rows_are_drawn_from_the_whole_memory():
    going, tasks = made("er", "~.replay=30")
    finished(going, tasks)
    fresh = micro_batches(tasks[2], 1, 8)[0]
    drawn = torch.zeros(3)
    for step in range(100):
        going.place.windows = 1000 + step
        drawn += going.methods[0].batch(fresh, going).tasks[8:].bincount(minlength=3)
    assert drawn.tolist() == pytest.approx([1000] * 3, rel=0.06)


def test_methods_that_replay_find_their_own_rows():
    """[er,der,derpp]: rows of one in front of those of the other do not mix them up."""
    tasks = stream(*SPLIT)
    going = until(built(tasks, *SPLIT, "strategy=[er,der,derpp]"), tasks, (1, 4))
    batch, _ = taken(going, micro_batches(tasks[1], 1, 8)[0])
    for name, method in (("der", going.methods[1]), ("derpp_logits", going.methods[2])):
        part, out = batch.part(name, batch.x)
        rows = method.memory.rows()
        assert torch.equal(part.x, out)
        places = [int((rows["x"].flatten(1) == x.flatten()).all(1).nonzero()) for x in part.x]
        assert torch.equal(part.kept["logits"], rows["logits"][places])
    assert int((batch.weight == 0).sum()) == 3 * 32
    assert batch.items == 8 + 32


def test_mir_replays_the_rows_whose_loss_rises_most_and_leaves_the_weights_alone():
    going, tasks = made("mir", "~.candidates=40", "~.replay=7", "optimizer.lr=0.5")
    until(going, tasks, (1, 4))
    fresh, method = micro_batches(tasks[1], 1, 8)[0], going.methods[0]
    before = going.weights.value.clone()
    going.open(8.0, 1)
    batch = method.batch(fresh, going)
    assert torch.equal(going.weights.value, before)
    assert bool((going.weights.grad == going.weights.grad).all())

    candidates = method.memory.draw(40, going.rng("mir"))
    step = differentiated(going, lambda f: F.cross_entropy(f(fresh.x), fresh.y))
    after = dict(zip(going.weights.names, going.weights.views(before - 0.5 * step), strict=True))
    rises = []
    for x, y in zip(candidates["x"], candidates["y"], strict=True):
        with torch.no_grad():
            new = F.cross_entropy(functional_call(going.model, after, (x[None],)), y[None])
            rises.append(float(new - F.cross_entropy(going.model(x[None]), y[None])))
    best = sorted(range(40), key=lambda i: -rises[i])[:7]
    assert rises[best[0]] > rises[best[6]] > min(rises)
    chosen = {tuple(x.flatten().tolist()) for x in batch.x[8:]}
    assert chosen == {tuple(candidates["x"][i].flatten().tolist()) for i in best}


def test_mir_can_compare_with_the_smallest_loss_that_a_row_has_had_as_a_candidate(monkeypatch: pytest.MonkeyPatch):
    smallest: dict[bytes, float] = {}
    otherwise, batch = [], MIR.batch

    def checked(method: MIR, fresh: Batch, going: Learner) -> Batch:
        if len(method.memory) == 0:
            return batch(method, fresh, going)
        rows = method.memory.draw(30, going.rng("mir"))
        step = differentiated(going, lambda f: F.cross_entropy(f(fresh.x), fresh.y))
        ahead = dict(zip(going.weights.names, going.weights.views(going.weights.value - 0.5 * step), strict=True))
        with torch.no_grad():
            now = F.cross_entropy(going.model(rows["x"]), rows["y"], reduction="none")
            after = F.cross_entropy(functional_call(going.model, ahead, (rows["x"],)), rows["y"], reduction="none")
        keys = [x.numpy().tobytes() for x in rows["x"]]
        for key, loss in zip(keys, now.tolist(), strict=True):
            smallest[key] = min(loss, smallest.get(key, loss))
        best = torch.tensor([smallest[key] for key in keys], dtype=torch.float64)
        whole = batch(method, fresh, going)
        chosen = {x.numpy().tobytes() for x in whole.x[len(fresh.y) :]}
        assert chosen == {keys[i] for i in (after - best).topk(7).indices.tolist()}
        otherwise.append(chosen != {keys[i] for i in (after - now).topk(7).indices.tolist()})
        return whole

    monkeypatch.setattr(MIR, "batch", checked)
    finished(*made("mir", "~.candidates=30", "~.replay=7", "~.memory=50", "~.against=best", "optimizer.lr=0.5"))
    assert len(otherwise) == 3 * 8 - 2, "every micro-batch but the two of the first window"
    assert sum(otherwise) > 5, "the two criteria choose other rows"


@pytest.mark.parametrize(("strategy", "more"), [("mir", ["~.candidates=40"]), ("er", [])])
def test_among_past_tasks_takes_no_row_of_the_current_one(strategy: str, more: list[str]) -> None:
    words = [strategy, *more, "~.replay=7", "~.memory=60"]
    going, tasks = made(*words, "~.among=past")
    plain = built(tasks, *SPLIT)
    for one in (going, plain):
        until(one, tasks, (1, 0))
    assert torch.equal(going.weights.value, plain.weights.value), "the first task has no past"
    going, _ = made(*words, "~.among=past")
    method = until(going, tasks, (1, 4)).methods[0]
    kept = method.memory.rows()["tasks"].tolist()
    assert 0 in kept
    assert 1 in kept
    batch, _ = taken(going, micro_batches(tasks[1], 1, 8)[0])
    assert batch.tasks[8:].tolist() == [0] * 7
    drawn = method.memory.draw(40, going.rng(strategy))["tasks"].tolist()
    assert 1 in drawn, "which the paper's algorithm does take"


@pytest.mark.parametrize("strategy", ["er", "mir"])
def test_two_means_are_added_as_in_the_program_of_mir_s_authors(strategy: str, kind: tuple[str, ...]) -> None:
    going, tasks = made(strategy, "~.replay=5", "~.loss=sum", kind=kind)
    until(going, tasks, (1, 4))
    fresh = micro_batches(tasks[1], 1, 8)[0]
    batch, gradient = taken(going, fresh)
    x, y = batch.x[8:], batch.y[8:]
    assert len(y) == 5
    own, old = masks(going, batch).split([8, 5])
    summed = differentiated(
        going, lambda f: F.cross_entropy(f(fresh.x) + own, fresh.y) + F.cross_entropy(f(x) + old, y)
    )
    torch.testing.assert_close(gradient, summed, rtol=1e-12, atol=1e-14)
    pooled = differentiated(going, lambda f: F.cross_entropy(f(batch.x) + masks(going, batch), batch.y))
    assert float((gradient - pooled).norm() / pooled.norm()) > 0.1
    going.methods[0].replay_loss = "pooled"
    _, gradient = taken(going, fresh)
    torch.testing.assert_close(gradient, pooled, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("strategy", ["er", "mir"])
def test_the_two_means_are_weighted_by_class_weights(strategy: str) -> None:
    going, tasks = made(strategy, "~.replay=5", "~.loss=sum")
    until(going, tasks, (1, 4))
    going.criterion.weights = weights = torch.linspace(0.5, 3, 10, dtype=torch.float64)
    fresh = micro_batches(tasks[1], 1, 8)[0]
    terms = weights[fresh.y]
    batch, gradient = taken(going, dataclasses.replace(fresh, items=float(terms.sum()), terms=terms))
    x, y = batch.x[8:], batch.y[8:]
    summed = differentiated(
        going, lambda f: F.cross_entropy(f(fresh.x), fresh.y, weights) + F.cross_entropy(f(x), y, weights)
    )
    torch.testing.assert_close(gradient, summed, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("strategy", ["er", "mir"])
def test_a_window_of_micro_batches_with_two_means_each_is_the_mean_of_them(strategy: str) -> None:
    going, tasks = made(strategy, "~.replay=5", "~.loss=sum")
    until(going, tasks, (1, 4))
    going.open(16.0, 2)
    for member in micro_batches(tasks[1], 2, 8):
        going.take(member)
    both = list(going.window.batches)
    going.window.reduce(going)

    def objective(f: Any) -> Tensor:
        means = [F.cross_entropy(f(b.x[part]), b.y[part]) for b in both for part in (slice(8), slice(8, None))]
        return torch.stack(means).sum() / 2

    torch.testing.assert_close(going.weights.grad, differentiated(going, objective), rtol=1e-12, atol=1e-14)


def test_gss_scores_are_the_largest_cosine_plus_1():
    going, tasks = made("gss", "~.memory=200", "~.compare=5")
    until(going, tasks, (1, 4))
    memory, fresh = going.methods[0].memory, micro_batches(tasks[1], 5, 8)[4]

    def gradient(x: Tensor, y: Tensor) -> Tensor:
        return differentiated(going, lambda f: F.cross_entropy(f(x[None]), y[None]))

    held = len(memory)
    old = memory.draw(5, generator(memory.seed, "gss", memory.seen))
    update(going, [fresh])
    directions = [gradient(x, y) for x, y in zip(old["x"], old["y"], strict=True)]
    wanted = [
        1 + max(float(F.cosine_similarity(gradient(x, y), d, dim=0)) for d in directions)
        for x, y in zip(fresh.x, fresh.y, strict=True)
    ]
    new = memory.rows()
    assert torch.equal(new["x"][held:], fresh.x)
    torch.testing.assert_close(new["score"][held:], torch.tensor(wanted, dtype=torch.float64))


def test_gss_lets_in_rows_that_differ_and_rows_that_are_alike_leave():
    """The memory holds one image and its label; another label of the same image pulls the weights the other way."""
    going, tasks = made("gss", "~.memory=30", kind=PERMUTED)
    until(going, tasks, (1, 0))
    memory = going.methods[0].memory
    image = memory.rows()["x"][:1]
    alike = torch.cat((torch.full((10,), 1e6), torch.full((20,), 1e-6))).double()
    memory.update(torch.arange(30), x=image.expand(30, *image.shape[1:]), y=torch.zeros(30).long(), score=alike)
    going.begin(tasks[1])

    def offer(label: int) -> list[int]:
        """The slots whose rows are others after eight more of the image."""
        x, y = image.expand(8, *image.shape[1:]), torch.full((8,), label)
        update(going, [dataclasses.replace(micro_batches(tasks[1], 1, 8)[0], x=x, y=y)])
        return (memory.rows()["tasks"] == 1).nonzero().flatten().tolist()

    assert offer(0) == [], "rows that resemble others stay out"
    gone = offer(1)
    assert len(gone) == 8
    assert set(gone) <= set(range(10))
    assert memory.rows()["y"][gone].tolist() == [1] * 8


def test_gss_screens_a_batch_by_its_mean_gradient():
    """In a full memory none of the rows of a batch that resembles it is scored, though some of them differ."""
    going, tasks = made("gss", "~.memory=30", "~.compare=30", "~.screen=batch", kind=PERMUTED)
    first = micro_batches(tasks[0], 2, 20)
    going.begin(tasks[0])
    update(going, first[:1])
    memory = going.methods[0].memory
    assert memory.rows()["score"].tolist() == [0.1] * 20
    held = memory.rows()
    update(going, first[1:])

    def gradient(x: Tensor, y: Tensor) -> Tensor:
        return differentiated(going, lambda f: F.cross_entropy(f(x), y))

    directions = [gradient(x[None], y[None]) for x, y in zip(held["x"], held["y"], strict=True)]
    mean = gradient(first[1].x, first[1].y)
    wanted = 1 + max(float(F.cosine_similarity(mean, direction, dim=0)) for direction in directions)
    filled = memory.rows()["score"][20:]
    torch.testing.assert_close(filled, torch.full((10,), wanted, dtype=torch.float64))

    image = memory.rows()["x"][:1]
    memory.update(torch.arange(30), x=image.expand(30, *image.shape[1:]), y=torch.zeros(30).long())
    memory.update(torch.arange(30), score=torch.full((30,), 1e6).double())
    going.begin(tasks[1])

    def stored(labels: list[int], screen: str) -> int:
        """How many of the rows, the memory's image with these labels, are stored."""
        going.methods[0].screen, before = screen, copy.deepcopy(going.state_dict())
        x, y = image.expand(len(labels), *image.shape[1:]), torch.tensor(labels)
        update(going, [dataclasses.replace(micro_batches(tasks[1], 1, len(labels))[0], x=x, y=y)])
        count = int((memory.rows()["tasks"] == 1).sum())
        going.load_state_dict(before)
        return count

    mixed = [0, 0, 0, 0, 0, 0, 0, 1]
    assert stored(mixed, "rows") == 1
    assert stored(mixed, "batch") == 0
    assert stored([1] * 8, "batch") == 8
    assert stored([1, 1, 1, 1, 1, 1, 1, 0], "batch") == 8, "a batch that differs comes with all its rows"
    assert stored([1, 1, 1, 1, 1, 1, 1, 0], "rows") == 7


# ---- LwF ----


def distilled(going: Learner, batch: Batch, teacher: Tensor, temperature: float = 2.0) -> Any:
    """The slow reference: a loop over rows, and over old heads where there are several."""
    outputs = going.criterion.outputs
    groups = [range(10)]
    if outputs is not None:
        groups = [mask.isfinite().nonzero().flatten().tolist() for mask in outputs.of_task[: batch.task]]
        if outputs.train != "task":
            groups = [sorted({output for group in groups for output in group})]

    def objective(f: Any) -> Tensor:
        out, total = f(batch.x), torch.zeros((), dtype=torch.float64)
        for z, target in zip(out, teacher, strict=True):
            for group in groups:
                p = (target[group] / temperature).softmax(0)
                total = total - (p * ((z[group] / temperature).log_softmax(0) - p.log())).sum()
        return total / len(batch.y)

    return objective


def test_lwf_teaches_the_outputs_of_the_model_that_the_last_task_left(kind: tuple[str, ...]) -> None:
    going, tasks = made("lwf", "~.alpha=0.8", kind=kind)
    until(going, tasks, (2, 0))
    left, method = going.weights.value.clone(), going.methods[0]
    going.begin(tasks[2])
    (batch,) = micro_batches(tasks[2], 1, 8)
    teacher = going.model(batch.x).detach()

    def plain(f: Any) -> Tensor:
        return F.cross_entropy(f(batch.x) + masks(going, batch), batch.y)

    _, gradient = taken(going, batch)
    torch.testing.assert_close(gradient, differentiated(going, plain), msg="at the task's beginning it is 0")
    until(going, tasks, (2, 4), start=(2, 0))
    assert torch.equal(method.teacher[0], left), "the teacher is frozen"
    assert not torch.equal(going.weights.value, left)
    teach = distilled(going, batch, teacher)
    assert float(teach(going.model).detach()) > 1e-6
    _, gradient = taken(going, batch)
    torch.testing.assert_close(gradient, differentiated(going, lambda f: plain(f) + 0.8 * teach(f)))
    assert torch.equal(going.weights.value, restored(going, lambda: made("lwf", kind=kind)[0]).weights.value)


def test_lwf_trains_the_old_heads_too_and_training_alone_leaves_them_at_rest():
    words = (*SPLIT, "scenario=task")
    moved = {}
    for strategy in ("lwf", "finetune"):
        going, tasks = made(strategy, kind=words)
        until(going, tasks, (1, 0))
        head = going.weights.views(going.weights.value)[-1][list(tasks[0].classes)].clone()
        until(going, tasks, (1, 7), start=(1, 0))
        moved[strategy] = not torch.equal(going.weights.views(going.weights.value)[-1][list(tasks[0].classes)], head)
    assert moved == {"lwf": True, "finetune": False}


def test_lwf_s_teacher_has_the_statistics_of_its_batch_norm():
    words = ("stream=split", "stream.tasks=2", "model=cnn", "model.width=4", "model.norm=batch")
    tasks = stream(*words)
    going = built(tasks, *words, "strategy=lwf")
    until(going, tasks, (1, 0))
    (batch,) = micro_batches(tasks[1], 1, 8)
    teacher = going.outputs(batch)
    statistics = [each.clone() for each in going.model.buffers()]
    going.begin(tasks[1])
    until(going, tasks, (1, 5), start=(1, 0))
    now = [each.clone() for each in going.model.buffers()]
    assert not all(map(torch.equal, statistics, now))
    torch.testing.assert_close(going.methods[0].batch(batch, going).kept["lwf.logits"], teacher, rtol=0, atol=0)
    assert all(map(torch.equal, now, going.model.buffers())), "the model's own come back"


# ---- what it is good for, and what is refused ----


def accuracy(strategy: str, *words: str) -> float:
    """On all classes at the end of a class-incremental stream of five tasks."""
    chosen = (f"strategy={strategy}", "stream=split", "stream.tasks=5", "optimizer.lr=0.1", "model.width=32", *words)
    tasks = stream(*chosen)
    going = built(tasks, *chosen)
    for task in tasks:
        going.begin(task)
        for _ in range(6):
            for batch in micro_batches(task, 24, 10):
                going.open(batch.items, 1)
                going.take(batch)
                going.update()
        going.end(task)
    found: Iterator[float] = (
        evaluate(going.model, tasks.part("test", j), going.criterion, task=j, now=4)["accuracy"] for j in range(5)
    )
    return sum(found) / 5


def test_replay_remembers_what_training_on_alone_forgets():
    assert accuracy("finetune") < 0.3
    for strategy in ("er", "er_ace", "derpp"):
        small = f"strategy.methods.{strategy}.memory=100"
        assert accuracy(strategy, small, f"strategy.methods.{strategy}.replay=10") > 0.7, strategy


@pytest.mark.parametrize("strategy", ["er", "er_ace", "der", "derpp", "fdr", "gss", "mir"])
def test_a_memory_without_room_is_refused(strategy: str) -> None:
    with pytest.raises(UserError, match="memory"):
        config(f"strategy={strategy}", f"strategy.methods.{strategy}.memory=0")


@pytest.mark.parametrize("strategy", ["er", "er_ace"])
def test_a_ring_without_room_for_every_class_is_refused_and_one_with_room_has_them_all(strategy: str) -> None:
    with pytest.raises(UserError, match=rf"{strategy}.memory=29: leaves a ring less .* each of 30 classes of 3 tasks"):
        made(strategy, "~.kind=ring", "~.memory=29", kind=PERMUTED)
    going, tasks = made(strategy, "~.kind=ring", "~.memory=30", kind=PERMUTED)
    rows = finished(going, tasks).methods[0].memory.rows()
    assert {(int(t), int(y)) for t, y in zip(rows["tasks"], rows["y"], strict=True)} == {
        (t, y) for t in range(3) for y in range(10)
    }


@pytest.mark.parametrize(
    ("unit", "least"), [("total", "30"), ("task", "10 or more for each task"), ("class", "3 or more for each class")]
)
def test_the_rows_that_a_ring_needs_are_named_in_the_unit_of_its_option(unit: str, least: str) -> None:
    number = int(least.split()[0])
    words = ("~.kind=ring", f"stream.memory_unit={unit}")
    with pytest.raises(UserError, match=rf"each of 30 classes of 3 tasks\. Use {least}.*, or kind=balanced"):
        made("er", f"~.memory={number - 1}", *words, kind=PERMUTED)
    made("er", f"~.memory={number}", *words, kind=PERMUTED)


@pytest.mark.parametrize("words", ["er_ace", "fdr", "lwf", "er strategy.methods.er.kind=balanced"])
def test_what_needs_classes_is_refused_where_there_are_none(words: str) -> None:
    chosen = load_config(["data=diabetes", "model=linear", *f"strategy={words}".split()])
    dataset = load_dataset(chosen.data, "cpu", torch.float32)
    tasks = open_stream(chosen, dataset)
    model = build_model(chosen, Shape(dataset.shape, tasks.setting.outputs), torch.device("cpu"))
    with pytest.raises(UserError, match="needs classes, and the targets of these data are numbers"):
        build_learner(chosen, model, build_criterion(dataset), 8, tasks)


@pytest.mark.parametrize("strategy", ["er", "der", "derpp", "mir", "gss"])
def test_numbers_can_be_replayed(strategy: str) -> None:
    chosen = load_config(["data=diabetes", "model=linear", f"strategy={strategy}", "optimizer.lr=0.01"])
    dataset = load_dataset(chosen.data, "cpu", torch.float32)
    tasks = open_stream(chosen, dataset)
    model = build_model(chosen, Shape(dataset.shape, tasks.setting.outputs), torch.device("cpu"))
    going = build_learner(chosen, model, build_criterion(dataset), 8, tasks)
    finished(going, tasks)
    assert len(going.methods[0].memory) == 64
    assert bool(going.weights.value.isfinite().all())


def test_two_memories_of_one_strategy_keep_rows_of_their_own_choice() -> None:
    words = ("strategy=[er,derpp]", *SPLIT, "strategy.methods.er.memory=20", "strategy.methods.derpp.memory=20")
    tasks = stream(*words)
    going = finished(built(tasks, *words), tasks)
    one, other = (method.memory for method in going.methods)
    assert one.seen == other.seen == 3 * 64
    assert one.seed != other.seed
    both = [row for row in one.rows()["x"] if (other.rows()["x"] == row).flatten(1).all(1).any()]
    assert len(both) < 10, "20 of 192 each: independent choices share two or so"
    assert sorted(going.methods[0].memory.rows()["tasks"].tolist()) != [0] * 20


def test_a_memory_chooses_the_same_rows_beside_another_one_and_alone() -> None:
    alone, tasks = made("er", "~.memory=20")
    words = ("strategy=[derpp,er]", *SPLIT, "strategy.methods.er.memory=20")
    beside = finished(built(tasks, *words), tasks).methods[1].memory
    assert torch.equal(beside.rows()["x"], finished(alone, tasks).methods[0].memory.rows()["x"])
