"""GPM, SGP, OWM, Adam-NSCL and OGD: what the layers saw of old gives the same outputs, while new things are learned."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from learners import SMALL, built, config, digits, finished, learner, micro_batches, restored, steps, stream
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.config.compose import load_config
from gradinc.core.layer_inputs import held_layers, inputs_of, second_moments
from gradinc.core.learner import Learner
from gradinc.core.linalg import leading_directions, small_directions, with_more_rows
from gradinc.core.subspaces import change_layers, complement, inside, outside
from gradinc.data.batch import Batch
from gradinc.data.stream import Stream, open_stream
from gradinc.data.task import Setting
from gradinc.methods.gpm import GPM
from gradinc.methods.sgp import SGP
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model

PERMUTED = ("stream=permuted", "stream.tasks=3")
CNN = ("model=cnn", "model.width=4", "model.depth=2", "model.hidden=16")
MODELS = {"mlp": (), "cnn": CNN, "cnn without a hidden layer": (*CNN[:3], "model.hidden=0", "model.norm=batch")}
EXACT = {
    "gpm": ("strategy.methods.gpm.rows=4",),
    "sgp": ("strategy.methods.sgp.rows=4", "strategy.methods.sgp.alpha=1e18"),
    "owm": ("strategy.methods.owm.alpha=1e-9", "strategy.methods.owm.decay=1.0", "strategy.methods.owm.rows=4",
            "strategy.methods.owm.batch=1"),
    "adam_nscl": ("strategy.methods.adam_nscl.ratio=1.0", "strategy.methods.adam_nscl.rows=4"),
}  # fmt: skip
"""Settings in which all inputs of four rows are held, to rounding; and see `exact`."""


def exact(made: Learner) -> Learner:
    """The published rule for the first task never reaches a threshold of 1, so that one above 1 has to hold all."""
    for method in made.methods:
        if isinstance(method, GPM | SGP):
            method.threshold = 1.1
    return made


def chosen(made: Learner, task: int, tasks: Stream) -> Tensor:
    """The rows that the method took at that task's end, the learner being where it was then."""
    (method,) = made.methods
    name = {"GPM": "gpm", "SGP": "sgp", "OWM": "owm", "AdamNSCL": "adam_nscl"}[type(method).__name__]
    return torch.cat([b.x for b in tasks[task].batches(32, rows=4, random=made.rng(name))])


def layers_and_inputs(made: Learner, x: Tensor) -> dict[str, tuple[nn.Module, Tensor]]:
    """For each layer what it is given for some rows, by hooks of the test's own."""
    seen = {}
    hooks = [
        module.register_forward_hook(lambda m, given, out, name=name: seen.__setitem__(name, (m, given[0].clone())))
        for name, module in made.model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    training = made.model.training
    made.model.eval()
    with torch.no_grad():
        made.model(x)
    made.model.train(training)
    for hook in hooks:
        hook.remove()
    return seen


def in_evaluation(made: Learner, x: Tensor) -> Tensor:
    return made.outputs(Batch(x, torch.zeros(len(x)), 0, float(len(x))))


@pytest.mark.parametrize(
    ("strategy", "model"),
    [(s, m) for s in EXACT for m in MODELS if (s, m[:3]) != ("adam_nscl", "cnn")],  # see below
)
def test_old_inputs_of_every_layer_give_the_same_outputs_after_the_next_tasks(strategy, model):
    words = (*PERMUTED, *MODELS[model], f"strategy={strategy}", *EXACT[strategy])
    tasks = stream(*words)
    made = exact(built(tasks, *words))
    rows, weights, seen, before = {}, {}, {}, {}
    for place in steps(made, tasks):
        if place in ((1, 0), (2, 0)):
            task = place[0] - 1
            rows[task], weights[task] = chosen(made, task, tasks), made.weights.value.clone()
            seen[task] = layers_and_inputs(made, rows[task])
            with torch.no_grad():
                before[task] = {name: module(given) for name, (module, given) in seen[task].items()}
            before[task]["model"] = in_evaluation(made, rows[task])
    for task, layers in seen.items():
        with torch.no_grad():
            for name, (module, given) in layers.items():
                torch.testing.assert_close(module(given), before[task][name], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(in_evaluation(made, rows[task]), before[task]["model"], rtol=1e-4, atol=1e-5)
        assert (made.weights.value - weights[task]).norm() > 1e-3, "nothing was learned"


@pytest.mark.parametrize("model", MODELS)
def test_plain_training_does_not_leave_old_outputs_alone(model):
    """The other half: the same rows, the same steps, no method."""
    words = (*PERMUTED, *MODELS[model])
    tasks = stream(*words)
    made = built(tasks, *words)
    for place in steps(made, tasks):
        if place == (1, 0):
            (batch,) = tasks[0].batches(4, rows=4)
            before = in_evaluation(made, batch.x)
    assert (in_evaluation(made, batch.x) - before).abs().max() > 0.02


@pytest.mark.parametrize("model", MODELS)
def test_adam_nscl_changes_what_old_inputs_give_by_no_more_than_the_eigenvalues_that_it_allows(model):
    """A layer with few inputs has no null space: its smallest directions are what is left to learn in."""
    words = (*PERMUTED, *MODELS[model], "strategy=adam_nscl")
    tasks = stream(*words)
    made = built(tasks, *words)
    (method,) = made.methods
    for place in steps(made, tasks):
        if place == (2, 0):
            weights, moments = made.weights.value.clone(), dict(method.moments)
            break
    for _ in steps(made, tasks, start=(2, 0)):
        pass
    moved = made.weights.value - weights
    checked = []

    def check(name: str, matrix: Tensor) -> Tensor:
        least = torch.linalg.eigvalsh(moments[name])[0].clamp(min=0)
        assert (matrix @ moments[name] @ matrix.T).trace() <= (10 * least + 1e-10) * matrix.square().sum()
        checked.append(float(matrix.norm()))
        return matrix

    change_layers(moved, made.weights, {name: partial(check, name) for name in moments})
    assert max(checked) > 1e-3
    assert len(checked) > 1


def with_optimizer(*words: str) -> tuple[Learner, Stream]:
    """A learner with another optimizer than the other tests have."""
    made_of = load_config([*(word for word in SMALL if "momentum" not in word), *PERMUTED, *words])
    tasks = open_stream(made_of, digits())
    model = build_model(made_of, Shape(digits().shape, 10), torch.device("cpu"))
    return build_learner(made_of, model, build_criterion(digits()), tasks.longest, tasks), tasks


NULL_SPACE = ("strategy=adam_nscl", *EXACT["adam_nscl"])
DECAY = "optimizer.weight_decay=0.1"


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_adam_nscl_holds_with_every_optimizer_and_with_weight_decay(optimizer):
    made, tasks = with_optimizer(*NULL_SPACE, f"optimizer={optimizer}", DECAY)
    for place in steps(made, tasks):
        if place == (1, 0):
            x, weights = chosen(made, 0, tasks), made.weights.value.clone()
            before = in_evaluation(made, x)
    torch.testing.assert_close(in_evaluation(made, x), before, rtol=1e-6, atol=1e-6)
    assert (made.weights.value - weights).norm() > 1e-3


def test_gpm_does_not_hold_with_weight_decay():
    made, tasks = with_optimizer("strategy=gpm", *EXACT["gpm"], "optimizer=sgd", DECAY)
    for place in steps(exact(made), tasks):
        if place == (1, 0):
            x = chosen(made, 0, tasks)
            before = in_evaluation(made, x)
    assert (in_evaluation(made, x) - before).abs().max() > 1e-3


def test_gpm_holds_with_momentum_since_it_is_cleared_when_the_basis_grows():
    made, tasks = with_optimizer("strategy=gpm", *EXACT["gpm"], "optimizer=sgd", "optimizer.momentum=0.9")
    for place in steps(exact(made), tasks):
        if place == (1, 0):
            x, weights = chosen(made, 0, tasks), made.weights.value.clone()
            before = in_evaluation(made, x)
    torch.testing.assert_close(in_evaluation(made, x), before, rtol=1e-6, atol=1e-6)
    assert (made.weights.value - weights).norm() > 1e-3


def test_adam_nscl_projects_the_step_that_adam_makes_not_the_gradient():
    held, tasks = with_optimizer(*NULL_SPACE, "optimizer=adam")
    plain, _ = with_optimizer("optimizer=adam")
    moved = []
    for made in (held, plain):
        for place in steps(made, tasks):
            if place == (1, 0):
                break
        made.begin(tasks[1], restart=True)
        made.open(8.0, 1)
        before = made.weights.value.clone()
        made.take(micro_batches(tasks[1], 1, 8)[0])
        made.update()
        moved.append(made.weights.value - before)
    projectors = {name: u @ u.T for name, u in held.methods[0].bases.items()}
    change_layers(moved[1], plain.weights, {name: partial(torch.matmul, other=p) for name, p in projectors.items()})
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-9, atol=1e-12)


# ---- what the layers see ----


class Convolutions(nn.Module):
    """Strides, dilations, paddings and shapes that the models here do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
        self.b = nn.Conv2d(3, 4, 3, padding="same", bias=False)
        self.c = nn.Linear(7, 5)  # at every position of the last dimension

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x)).flatten(2)[..., :7]).flatten(1)


def test_the_matrix_times_the_inputs_are_the_outputs():
    model = Convolutions().double()
    x = torch.randn(4, 2, 7, 6, dtype=torch.float64)
    made = learner(model=model)
    seen = inputs_of(made, Batch(x, torch.zeros(4), 0, 4.0))
    layers = layers_and_inputs(made, x) | {"c": (model.c, None)}
    with torch.no_grad():
        a = model.a(x)
        b = model.b(a)
        outputs = {"a": a.flatten(2).mT, "b": b.flatten(2).mT, "c": model.c(b.flatten(2)[..., :7])}
    assert set(seen) == set(outputs) <= set(layers)
    for name, inputs in seen.items():
        module = dict(model.named_modules())[name]
        matrix = module.weight.flatten(1)
        matrix = matrix if module.bias is None else torch.cat((matrix, module.bias[:, None]), 1)
        torch.testing.assert_close(inputs @ matrix.T, outputs[name])


def test_inputs_are_those_of_evaluation_and_leave_no_trace():
    words = (*PERMUTED, "model.dropout=0.5")
    tasks = stream(*words)
    made = built(tasks, *words)
    made.model.train()
    state = copy.deepcopy(made.model.state_dict())
    (batch,) = tasks[0].batches(20, rows=20)
    first, second = inputs_of(made, batch), inputs_of(made, batch)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert made.model.training
    assert all(torch.equal(value, state[name]) for name, value in made.model.state_dict().items())
    assert not made.model.output._forward_hooks
    made.model.eval()
    with torch.no_grad():
        hidden = made.model.activation1(made.model.hidden1(batch.x.flatten(1)))
    torch.testing.assert_close(first["output"][:, 0, :-1], hidden)
    assert (first["output"][..., -1] == 1).all(), "a bias sees the input 1"


@pytest.mark.parametrize("strategy", ["gpm", "sgp", "owm", "adam_nscl"])
def test_a_model_with_other_layers_is_refused_before_anything_is_made(strategy):
    words = (*PERMUTED, f"strategy={strategy}", "data=digits")
    chosen_config = config(*words)
    tasks = stream(*words)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.PReLU(), nn.Linear(8, 10)).double()
    with pytest.raises(UserError, match=r"strategy.methods.\w+: .*2 \(PReLU\) is neither\. Use model=mlp, linear"):
        build_learner(chosen_config, model, build_criterion(digits()), 100, tasks)


def test_a_vision_transformer_is_refused():
    words = (*PERMUTED, "strategy=gpm")
    model = build_model(config(*PERMUTED, "model=vit"), Shape((1, 8, 8), 10), torch.device("cpu"))
    with pytest.raises(UserError, match="is neither"):
        build_learner(config(*words), model, build_criterion(digits()), 100, stream(*words))


# ---- the rank rules ----


def moment_of(energies: list[float]) -> Tensor:
    q, _ = torch.linalg.qr(torch.randn(len(energies), len(energies), dtype=torch.float64))
    return q @ torch.diag(torch.tensor(energies, dtype=torch.float64)) @ q.T


def test_the_first_task_takes_directions_below_the_threshold_later_ones_reach_it():
    moment = moment_of([50.0, 30.0, 15.0, 4.0, 1.0])
    for threshold, below, reaching in [(0.4, 0, 1), (0.6, 1, 2), (0.81, 2, 3), (0.96, 3, 4), (1.1, 5, 5)]:
        assert leading_directions(moment, threshold).shape[1] == below
        nothing = torch.zeros(5, 0, dtype=torch.float64)
        assert leading_directions(moment, threshold, nothing).shape[1] == reaching


def test_later_tasks_count_what_the_basis_holds_already():
    moment = moment_of([50.0, 30.0, 15.0, 4.0, 1.0])
    basis = leading_directions(moment, 0.81)  # holds 0.8
    assert leading_directions(moment, 0.79, basis).shape[1] == 0
    for threshold, count in [(0.81, 1), (0.94, 1), (0.96, 2), (0.995, 3)]:
        more = leading_directions(moment, threshold, basis)
        assert more.shape[1] == count
        both = torch.cat((basis, more), 1)
        torch.testing.assert_close(both.T @ both, torch.eye(2 + count, dtype=torch.float64), atol=1e-12, rtol=0)


def test_directions_are_those_of_the_published_programs_by_singular_values():
    """GPM as printed: from the inputs themselves, by SVD, in a loop."""
    torch.manual_seed(0)
    scales = torch.logspace(0, -2, 20, dtype=torch.float64)
    first, second = (torch.randn(60, 20, dtype=torch.float64) * scales for _ in range(2))
    second = second @ torch.linalg.qr(torch.randn(20, 20, dtype=torch.float64))[0]
    u, s, _ = torch.linalg.svd(first.T)
    r = int((s.square().cumsum(0) / s.square().sum() < 0.9).sum())
    basis = leading_directions(first.T @ first, 0.9)
    torch.testing.assert_close(basis @ basis.T, u[:, :r] @ u[:, :r].T)
    rest = second.T - u[:, :r] @ u[:, :r].T @ second.T
    v, t, _ = torch.linalg.svd(rest)
    total = second.square().sum()
    reached, count = (total - rest.square().sum()) / total, 0
    while reached < 0.95:
        reached, count = reached + t[count] ** 2 / total, count + 1
    more = leading_directions(second.T @ second, 0.95, basis)
    assert more.shape[1] == count > 0
    torch.testing.assert_close(more @ more.T, v[:, :count] @ v[:, :count].T)


def test_a_layer_that_sees_nothing_takes_no_direction():
    assert leading_directions(torch.zeros(4, 4, dtype=torch.float64), 0.9).shape == (4, 0)


def test_the_thresholds_grow_with_the_tasks_and_can_be_one_for_each_layer():
    tasks = stream(*PERMUTED)
    made = built(tasks, *PERMUTED)
    few, many, grown = GPM(threshold=[0.5, 0.9]), GPM(threshold=0.9), GPM(threshold=0.5, increase=0.4)
    for method in (few, many):
        method.end(tasks[0], made)
    assert few.bases["hidden1"].shape[1] < many.bases["hidden1"].shape[1]
    assert torch.equal(few.bases["output"], many.bases["output"])
    plain = GPM(threshold=0.5, increase=0.0)
    for method in (grown, plain):
        for index in range(2):
            method.end(tasks[index], made)
    assert plain.bases["hidden1"].shape[1] < grown.bases["hidden1"].shape[1]
    with pytest.raises(UserError, match=r"gpm\.threshold=\[0\.5\]: has 1 numbers, and the model has 2 layers"):
        GPM(threshold=[0.5]).check(made.model, tasks.setting)


@pytest.mark.parametrize("method", [GPM, SGP])
def test_thresholds_that_leave_no_direction_before_the_last_task_are_refused_and_no_others(method):
    model = built(stream(*PERMUTED), *PERMUTED).model
    method(threshold=0.97, increase=0.003).check(model, Setting(10))
    method(threshold=[0.5, 0.97], increase=0.003).check(model, Setting(11))
    with pytest.raises(UserError, match=r"increase=0\.003: .* grow to 1 within 13 tasks.* less than 0\.0027"):
        method(threshold=[0.5, 0.97], increase=0.003).check(model, Setting(13))
    method(threshold=0.97, increase=0.0027).check(model, Setting(13))
    method(threshold=1.0).check(model, Setting(13))  # asked for in so many words


# ---- SGP ----


def test_sgp_importance_is_that_of_the_published_program():
    tasks = stream(*PERMUTED)
    made = built(tasks, *PERMUTED)
    method = SGP(threshold=0.8, increase=0.0, alpha=3.0, rows=40)
    importance = None
    for index in range(2):
        made.place.task = index
        old = {name: u.clone() for name, u in method.bases.items()}
        (batch,) = tasks[index].batches(40, rows=40, random=made.rng("sgp"))
        inputs = torch.cat((batch.x.flatten(1), torch.ones(40, 1, dtype=torch.float64)), 1).T
        method.end(tasks[index], made)
        basis = method.bases["hidden1"]
        if index == 0:
            sigma = torch.linalg.svdvals(inputs)[: basis.shape[1]]
            importance = 4 * sigma / (3 * sigma + sigma.max())
        else:
            rank = old["hidden1"].shape[1]
            on_old = old["hidden1"] @ old["hidden1"].T @ inputs
            u, s, _ = torch.linalg.svd(on_old, full_matrices=False)
            again = ((old["hidden1"].T @ u[:, :rank]).square() @ s[:rank].square()).sqrt()
            rest = torch.linalg.svdvals(inputs - on_old)[: basis.shape[1] - rank]
            sigma = torch.cat((again, rest))
            new = 4 * sigma / (3 * sigma + sigma.max())
            new[:rank] += importance
            importance = new.clamp(0, 1)
        torch.testing.assert_close(method.importance["hidden1"], importance, rtol=1e-6, atol=1e-8)
    g = torch.randn(len(made.weights), dtype=torch.float64)
    after = g.clone()
    method.transform(after, made)
    matrix = lambda v: torch.cat([x.flatten(1) if x.dim() > 1 else x[:, None] for x in made.weights.views(v)[:2]], 1)  # noqa: E731
    along = matrix(g) @ basis
    torch.testing.assert_close(matrix(after) @ basis, along * (1 - importance))


# ---- OWM ----


def test_owm_s_recursion_is_the_direct_inverse():
    torch.manual_seed(0)
    n = 12
    p, direct = torch.eye(n, dtype=torch.float64), torch.eye(n, dtype=torch.float64)
    one_by_one = p.clone()
    for alpha, count in [(1.0, 1), (0.1, 5), (0.01, 30), (0.5, 3)]:
        rows = torch.randn(count, n, dtype=torch.float64)
        p = with_more_rows(p, rows, alpha)
        direct += rows.T @ rows / alpha
        for x in rows:  # as the paper has it
            k = one_by_one @ x / (alpha + x @ one_by_one @ x)
            one_by_one = one_by_one - torch.outer(k, x @ one_by_one)
    torch.testing.assert_close(p, torch.linalg.inv(direct), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(p, one_by_one, rtol=1e-9, atol=1e-12)


def test_owm_takes_in_the_means_of_all_batches_of_every_task():
    words = (*PERMUTED, "strategy=owm", "strategy.methods.owm.batch=50", "strategy.methods.owm.decay=0.1")
    tasks = stream(*words)
    made = built(tasks, *words)
    (method,) = made.methods
    direct = torch.eye(65, dtype=torch.float64)
    for index in range(2):
        made.place.task = index
        batches = list(tasks[index].batches(50, random=made.rng("owm")))
        for j, batch in enumerate(batches):
            mean = torch.cat((batch.x.flatten(1).mean(0), torch.ones(1, dtype=torch.float64)))
            direct += torch.outer(mean, mean) / 0.1 ** (j / len(batches))
        method.end(tasks[index], made)
    torch.testing.assert_close(method.inverses["hidden1"], torch.linalg.inv(direct), rtol=1e-7, atol=1e-10)


# ---- Adam-NSCL ----


def test_the_null_space_is_of_eigenvalues_up_to_a_multiple_of_the_smallest():
    for energies, ratio, count in [([9, 5, 3, 1], 1.0, 1), ([9, 5, 3, 1], 4.0, 2), ([9, 5, 0, 0], 10.0, 2)]:
        moment = moment_of([float(e) for e in energies])
        u = small_directions(moment, ratio)
        assert u.shape[1] == count
        assert (u.T @ moment @ u).diagonal().max() <= ratio * min(energies) + 1e-12


def test_the_covariance_is_that_of_all_rows_so_far():
    words = (*PERMUTED, "strategy=adam_nscl", "strategy.methods.adam_nscl.rows=null")
    tasks = stream(*words)
    made = built(tasks, *words)
    (method,) = made.methods
    everything = []
    for index in range(2):
        method.end(tasks[index], made)
        (batch,) = tasks[index].batches(len(tasks[index].train))
        everything.append(batch.x.flatten(1))
    x = torch.cat(everything)
    torch.testing.assert_close(method.moments["hidden1"][:-1, :-1], x.T @ x / len(x))


# ---- OGD ----


@pytest.mark.parametrize("kind", ["stream=permuted stream.tasks=2", "stream=split stream.tasks=2 scenario=task"])
@pytest.mark.parametrize("gradients", ["gtl", "ave", "all"])
def test_ogd_leaves_past_outputs_as_they_are_to_first_order(kind, gradients):
    """With half the step the outputs of the examples change by a quarter; others, and plain training, by a half."""
    words = (*kind.split(), "strategy=ogd", "strategy.methods.ogd.memory=20", f"strategy.methods.ogd.kind={gradients}")
    tasks = stream(*words)
    made = built(tasks, *words, "model.activation=tanh")
    for place in steps(made, tasks):
        if place == (1, 0):
            break
    made.place.task = 0
    (examples,) = tasks[0].batches(32, rows=10, random=made.rng("ogd"))
    made.begin(tasks[1])

    def kept(batch: Batch) -> Tensor:
        out = made.criterion.seen(batch, made.outputs(batch))
        if gradients == "gtl":
            return out.gather(1, batch.y[:, None])
        finite = out.isfinite()
        return out.where(finite, 0).sum(1) / finite.sum(1) if gradients == "ave" else out[finite]

    (batch,) = tasks[1].batches(32, rows=32)
    g = made.gradient(batch)
    projected = g.clone()
    made.methods[0].transform(projected, made)
    weights, before = made.weights.value.clone(), kept(examples)

    def change(direction: Tensor, step: float) -> float:
        made.weights.value.copy_(weights - step * direction)
        moved = float((kept(examples) - before).norm())
        made.weights.value.copy_(weights)
        return moved

    held = [change(projected, step) for step in (1e-2, 5e-3)]
    plain = [change(g, step) for step in (1e-2, 5e-3)]
    assert held[0] / held[1] == pytest.approx(4, rel=0.05)
    assert plain[0] / plain[1] == pytest.approx(2, rel=0.05)
    assert torch.dot(projected, g) > 0.01 * torch.dot(g, g), "nothing can be learned"
    if "scenario=task" in kind:
        output = dict(made.weights.layers(projected))["output.weight"]
        assert (output[:5] == 0).all(), "an old head would move"


@pytest.mark.parametrize("rank", [0, 3, 6, 7, 11, 12])
def test_a_projection_by_the_complement_is_that_by_the_basis(rank):
    """Above half of the dimensions the complement has fewer columns."""
    torch.manual_seed(0)
    matrix, u = torch.randn(5, 12, dtype=torch.float64), torch.randn(12, rank, dtype=torch.float64)
    u = torch.linalg.qr(u)[0]
    wanted = matrix @ u @ u.T
    torch.testing.assert_close(inside(matrix, u), wanted, rtol=0, atol=1e-13)
    torch.testing.assert_close(outside(matrix, u), matrix - wanted, rtol=0, atol=1e-13)
    other = complement(u)
    assert other.shape == (12, 12 - rank)
    assert torch.equal(other, complement(u.clone()))
    if 0 < rank < 12:
        assert float((inside(matrix, other) - wanted).norm()) > 1


# ---- all ----

ALL = ("gpm", "sgp", "owm", "adam_nscl", "ogd")


@pytest.mark.parametrize("strategy", ALL)
def test_a_window_is_the_large_batch(strategy):
    words = (*PERMUTED, f"strategy={strategy}")
    tasks = stream(*words)
    windows = finished(built(tasks, *words), tasks, count=8, size=4, window=4)
    large = finished(built(tasks, *words), tasks, count=2, size=16, window=1)
    assert float((windows.weights.value - large.weights.value).norm() / large.weights.value.norm()) < 1e-9


@pytest.mark.parametrize("strategy", ALL)
def test_it_is_plain_training_in_the_first_task_and_not_in_the_second(strategy):
    tasks = stream(*PERMUTED)
    plain, held = built(tasks, *PERMUTED), built(tasks, *PERMUTED, f"strategy={strategy}")
    for place, _ in zip(steps(plain, tasks), steps(held, tasks), strict=True):
        if place <= (1, 0):
            assert torch.equal(plain.weights.value, held.weights.value)
    assert not torch.equal(plain.weights.value, held.weights.value)


@pytest.mark.parametrize("strategy", ALL)
def test_an_output_layer_with_rows_for_each_task_alone_is_free(strategy):
    words = ("stream=split", "stream.tasks=2", "scenario=task", f"strategy={strategy}")
    masked = (*words, "stream.heads=masked")
    for chosen_words in (words, masked):
        tasks = stream(*chosen_words)
        made = built(tasks, *chosen_words)
        assert list(held_layers(made)) == ["hidden1"]
        old = None
        for place in steps(made, tasks):
            if place == (1, 0):
                old = made.model.output.weight.detach().clone()
        changed = (made.model.output.weight.detach() - old).norm(dim=1)
        assert (changed[:5] == 0).all()
        assert (changed[5:] > 0).all()
    assert list(held_layers(built(stream(*PERMUTED), *PERMUTED))) == ["hidden1", "output"]


@pytest.mark.parametrize("strategy", ALL)
def test_what_is_kept_is_counted_and_what_is_removed_is_noted(strategy):
    words = (*PERMUTED, f"strategy={strategy}")
    tasks = stream(*words)
    made = finished(built(tasks, *words), tasks)
    notes = made.drain()["notes"]
    assert 0 < notes["removed"] <= 1
    free = [value for name, value in notes.items() if name.startswith("free_rank")]
    assert len(free) == (1 if strategy == "ogd" else 2)
    assert all(0 <= value <= 1 for value in free)
    assert made.methods[0].nbytes > 1000


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize("model", ["cnn", "cnn without a hidden layer"])
def test_it_resumes_bit_for_bit_with_convolutions_and_batch_normalisation(strategy, model):
    words = ("stream=permuted", "stream.tasks=2", *MODELS[model], f"strategy={strategy}")
    tasks = stream(*words)
    straight = finished(built(tasks, *words), tasks, count=4)
    for stop in [(1, 0), (1, 1), (1, 2)]:
        going = built(tasks, *words)
        for place in steps(going, tasks, count=4):
            if place == stop:
                break
        again = restored(going, lambda: built(tasks, *words))
        again.model.train()
        for _ in steps(again, tasks, count=4, start=stop):
            pass
        assert torch.equal(again.weights.value, straight.weights.value)
        for name, value in again.model.state_dict().items():
            assert torch.equal(value, straight.model.state_dict()[name]), name


def test_moments_are_the_same_however_the_rows_come():
    tasks = stream(*PERMUTED)
    made = built(tasks, *PERMUTED, *CNN)
    one, rows = second_moments(made, tasks[0].batches(40, rows=40))
    many, _ = second_moments(made, tasks[0].batches(7, rows=40))
    assert rows == 40
    for name in one:
        torch.testing.assert_close(one[name], many[name])
