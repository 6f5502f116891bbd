"""Methods against the loss of plasticity: what they pull, shrink, renew and protect, and what they leave alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from learners import (
    built,
    distance,
    learner,
    loss_and_gradient,
    network,
    restored,
    stream,
    take,
    train,
    update,
    windows,
)
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.base.randomness import generator
from gradinc.core.initial import drawn_from, drawn_like
from gradinc.core.learner import Learner
from gradinc.core.method import Method
from gradinc.core.units import Units, hidden_units, renew
from gradinc.core.weights import Weights
from gradinc.data.batch import Batch
from gradinc.data.task import Setting
from gradinc.methods.continual_backprop import ContinualBackprop
from gradinc.methods.l2_init import L2Init
from gradinc.methods.redo import ReDo
from gradinc.methods.shrink_perturb import ShrinkPerturb
from gradinc.methods.upgd import UPGD
from gradinc.models.cnn import cnn
from gradinc.models.mlp import mlp
from gradinc.models.resnet18 import resnet18

RESET = (ContinualBackprop, ReDo)


def ready(method: Method, model: nn.Module, **options: Any) -> Learner:
    """A learner with one method that has seen its model, as in a run."""
    method.check(model, Setting())
    return learner(method, model=model, **options)


# ---- l2_init ----


def test_l2_init_is_the_gradient_of_its_penalty_and_pulls_to_the_first_weights_not_to_0() -> None:
    mine, model = learner(L2Init(strength=0.3)), network()
    first = mine.weights.value.clone()
    w = first.clone()
    for window in windows(16, 4):
        update(mine, window)
        at = w.clone().requires_grad_()
        penalty = 0.15 * (at - first).square().sum()
        w = w - 0.1 * (loss_and_gradient(model, w, window)[1] + torch.autograd.grad(penalty, at)[0])
        assert distance(mine.weights.value, w) < 1e-12
    strong, decayed = learner(L2Init(strength=9.0)), learner(weight_decay=9.0)
    for one in (strong, decayed):
        train(one, 16, 4, count=6)
    assert distance(strong.weights.value, first) < 0.1
    assert distance(decayed.weights.value, first) > 0.5


def test_l2_init_does_not_pull_normalisations() -> None:
    mine = learner(L2Init(strength=2.0), model=network(norm=True))
    free = learner(model=network(norm=True))
    for one in (mine, free):
        with torch.no_grad():
            one.model[2].weight.add_(1)
        take(one, next(windows(16, 4)))
        one.update()
    assert torch.equal(mine.model[2].weight, free.model[2].weight)


# ---- shrink_perturb ----


def test_shrink_perturb_draws_each_layers_noise_from_its_initial_weights_once_a_window() -> None:
    mine, plain = learner(ShrinkPerturb(shrink=0.25, perturb=0.5)), learner()
    first = mine.weights.value.clone()
    for window in list(windows(16, 4))[:1]:
        update(mine, window)
        update(plain, window)
    noise = (mine.weights.value - 0.75 * plain.weights.value) / 0.5
    for name, layer in mine.weights.layers(noise):
        values = dict(mine.weights.layers(first))[name]
        gap = (layer.flatten()[:, None] - values.flatten()[None]).abs().min(1).values
        assert gap.max() < 1e-12, name
    assert float((noise - first).abs().max()) > 0.1
    again = learner(ShrinkPerturb(shrink=0.25, perturb=0.5))
    (window,) = list(windows(64, 1))[:1]
    update(again, window)
    assert distance(again.weights.value, mine.weights.value) < 1e-12, "micro-batches draw no noise of their own"


def test_new_weights_have_the_distribution_of_the_initial_ones() -> None:
    model = mlp((64,), 10, width=128, init="xavier").double()
    weights = Weights(model)
    new = drawn_like(weights.value, weights, generator(0, "test"))
    for (name, old), (_, drawn) in zip(weights.layers(weights.value), weights.layers(new), strict=True):
        if old.dim() > 1:
            assert abs(float(drawn.std() / old.std()) - 1) < 4 / len(old.flatten()) ** 0.5, name
            assert abs(float((drawn.mean() - old.mean()) / old.std())) < 4 / len(old.flatten()) ** 0.5, name
            assert not torch.equal(drawn, old)
        else:
            assert torch.equal(drawn, old), "biases start from 0"
    assert drawn_from(weights.value, (3, 5), generator(0, "test")).shape == (3, 5)


# ---- which units, and their renewal ----

CHAINS: dict[str, Callable[[], nn.Module]] = {
    "one hidden layer": lambda: mlp((1, 8, 8), 10, width=12, depth=1),
    "mlp": lambda: mlp((1, 8, 8), 10, width=12),
    "mlp with CReLU": lambda: mlp((1, 8, 8), 10, width=12, activation="crelu"),
    "mlp with BatchNorm": lambda: mlp((1, 8, 8), 10, width=12, norm="batch"),
    "cnn": lambda: cnn((1, 8, 8), 10, width=4, hidden=12),
    "cnn with CReLU": lambda: cnn((1, 8, 8), 10, width=4, hidden=12, activation="crelu"),
    "cnn without a hidden layer": lambda: cnn((1, 8, 8), 10, width=4, hidden=0),
    "cnn with BatchNorm": lambda: cnn((1, 8, 8), 10, width=4, hidden=12, norm="batch"),
}


def chain(name: str) -> nn.Module:
    torch.manual_seed(0)
    return CHAINS[name]().double()


def images(count: int = 6) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def with_inputs(model: nn.Module, layer: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs of a layer, and the model's outputs, in evaluation."""
    seen: list[Tensor] = []
    hook = model.get_submodule(layer).register_forward_pre_hook(lambda m, given: seen.append(given[0]))
    model.eval()
    with torch.no_grad():
        out = model(x)
    hook.remove()
    model.train()
    return seen[0], out


@pytest.mark.parametrize("name", CHAINS)
def test_outgoing_weights_are_those_that_a_unit_reaches_and_no_others(name: str) -> None:
    """A unit whose outgoing weights are 0 can be changed in any way: no output depends on it. Others do."""
    for number, units in enumerate(hidden_units("redo", chain(name))):
        model = chain(name)
        _, before = with_inputs(model, units.following, images())
        chosen = torch.tensor([1, units.size - 1])
        with torch.no_grad():
            model.get_submodule(units.following).weight.index_fill_(1, units.inputs(chosen), 0)
        _, silent = with_inputs(model, units.following, images())
        assert not torch.allclose(silent, before)
        with torch.no_grad():
            model.get_submodule(units.layer).weight[chosen] += 1
        assert torch.allclose(with_inputs(model, units.following, images())[1], silent, rtol=1e-12), (name, number)
        with torch.no_grad():
            model.get_submodule(units.layer).weight[0] += 1
        assert not torch.allclose(with_inputs(model, units.following, images())[1], silent)


@pytest.mark.parametrize("name", CHAINS)
def test_a_renewal_changes_outputs_by_the_units_deviation_from_its_mean_only(name: str) -> None:
    """With the true means as running means: the change of the next layer has mean 0, and without them it has not."""
    for units in hidden_units("redo", chain(name)):
        if units.following not in ("output", "hidden", "hidden2"):
            continue  # a convolution pads its borders
        changes = []
        for corrected in (True, False):
            model = chain(name)
            mine = learner(model=model)
            before, _ = with_inputs(model, units.following, images())
            mean = before.mean(0).flatten()
            layer, chosen = model.get_submodule(units.following), units.each(mean).abs().topk(2).indices
            with torch.no_grad():
                old = layer(before)
            first = mine.weights.value.clone()
            renew(units, chosen, mean if corrected else None, first, mine, generator(0, "test"))
            after, _ = with_inputs(model, units.following, images())
            with torch.no_grad():
                changes.append((layer(after) - old).mean(0).abs().max())
            assert not torch.equal(mine.weights.value, first)
        exact, without = changes
        assert exact < 1e-12, units
        assert without > 1e-3, units


@pytest.mark.parametrize("name", ["mlp", "cnn", "mlp with BatchNorm"])
def test_only_moments_of_renewed_units_are_set_to_0(name: str) -> None:
    model = chain(name)
    mine = learner(model=model, optimizer="adam", lr=0.01)
    x, y = images(8), torch.arange(8)
    for _ in range(3):
        update(mine, [Batch(x, y, 0, 8.0)])
    units = hidden_units("redo", model)[-1]
    (leaf,) = mine.optimizer.state
    before = {key: mine.optimizer.state[leaf][key].clone() for key in ("exp_avg", "exp_avg_sq")}
    active = with_inputs(model, units.following, x)[0].abs().mean(0).flatten()
    chosen = units.each(active).argmax()[None]
    renew(units, chosen, None, mine.weights.value.clone(), mine, generator(0, "test"))
    mine.weights.value.zero_()
    for name_, layer in mine.weights.layers(mine.weights.value):
        owner, _, kind = name_.rpartition(".")
        if owner in (units.layer, *units.norms):
            layer[chosen] = 1
        elif owner == units.following and kind == "weight":
            layer[:, units.inputs(chosen)] = 1
    renewed = mine.weights.value == 1
    for key, old in before.items():
        new = mine.optimizer.state[leaf][key]
        assert not new[renewed].any()
        assert torch.equal(new[~renewed], old[~renewed])
        assert old[renewed].any()


@pytest.mark.parametrize("method", RESET)
def test_what_has_no_single_units_is_refused(method: type[Method]) -> None:
    name = {"ContinualBackprop": "continual_backprop", "ReDo": "redo"}[method.__name__]
    for model, why in (
        (mlp((4,), 2, norm="layer"), "normalisation norm1 .* mixes them. Use model.norm=none or batch"),
        (mlp((4,), 2, residual=True), r"hidden2 \(Residual\) is no plain layer"),
        (resnet18((1, 8, 8), 2, width=4), r"\(Block\) is no plain layer"),
        (nn.Sequential(nn.Linear(4, 2)), "no hidden layer is trained"),
    ):
        with pytest.raises(UserError, match=rf"^strategy\.methods\.{name}: .*{why}"):
            method().check(model, Setting())
    frozen = mlp((4,), 2)
    frozen.get_submodule("hidden2").requires_grad_(False)
    with pytest.raises(UserError, match="no hidden layer is trained"):
        hidden_units("redo", frozen)


# ---- continual_backprop ----


def by_hand(mine: Learner, method: ContinualBackprop, start: Tensor, count: int) -> tuple[Tensor, list[list[int]]]:
    """Algorithm 1 with the authors' corrections, one unit after another, on the network of `learner`, with plain SGD.

    Returns:
        The utilities that decide, and the units renewed in each update.
    """
    model = network()
    w, size = start.clone(), 16
    u = torch.zeros(size, dtype=torch.float64)
    f, age, owed, renewed = u.clone(), [0] * size, 0.0, []
    for t, window in enumerate(list(windows(16, 4, 20))[:count], start=1):
        x = torch.cat([b.x for b in window])
        parts = [p.clone() for p in mine.weights.views(w)]
        h = torch.tanh(x @ parts[0].T + parts[1])
        w = w - 0.1 * loss_and_gradient(model, w, window)[1]
        first, offset, second, last = mine.weights.views(w)
        for i in range(size):
            age[i] += 1
            u[i] = method.decay * u[i] + (1 - method.decay) * h[:, i].abs().mean() * second[:, i].abs().sum()
            f[i] = method.decay * f[i] + (1 - method.decay) * h[:, i].mean()
        mature = [i for i in range(size) if age[i] > method.maturity]
        owed += method.rate * len(mature)
        ranked = sorted(mature, key=lambda i: float(u[i]) / (1 - method.decay ** age[i]))
        chosen, owed = ranked[: int(owed)], owed - int(owed)
        renewed.append(sorted(chosen))
        random = generator(mine.place.seed, "continual_backprop", 0, t - 1, -1)
        if chosen:
            initial = mine.weights.views(start)
            for values, source in ((first, initial[0]), (offset, initial[1])):
                new = drawn_from(source, (len(chosen), *values.shape[1:]), random)
                for i, row in zip(chosen, new, strict=True):
                    values[i] = row
        for i in chosen:
            last += second[:, i] * f[i] / (1 - method.decay ** age[i])
            second[:, i] = 0
            u[i], f[i], age[i] = 0, 0, 0
    return w, renewed


def test_continual_backprop_is_the_paper_s_algorithm() -> None:
    """Fractions of a unit add up: 16 units and a rate of 0.03 renew a unit in about every second update."""
    method = ContinualBackprop(rate=0.03, decay=0.9, maturity=3)
    mine = ready(method, network())
    start = mine.weights.value.clone()
    wanted, renewed = by_hand(mine, method, start, 24)
    for window in list(windows(16, 4, 20))[:24]:
        update(mine, window)
    assert distance(mine.weights.value, wanted) < 1e-10
    counts = [len(each) for each in renewed]
    assert counts[:3] == [0, 0, 0]
    assert set(counts) == {0, 1}
    assert sum(counts) > 5
    assert distance(mine.weights.value, train_plain(24)) > 1e-2


def train_plain(count: int) -> Tensor:
    plain = learner()
    for window in list(windows(16, 4, 20))[:count]:
        update(plain, window)
    return plain.weights.value


def test_fractions_of_a_unit_survive_a_restart() -> None:
    def make() -> Learner:
        return ready(ContinualBackprop(rate=0.02, decay=0.9, maturity=1), network(), momentum=0.9)

    whole, batches = make(), list(windows(16, 4, 20))
    for window in batches[:5]:
        update(whole, window)
    owed = whole.methods[0].owed
    assert 0 < owed["0"] < 1
    again, forgetful = restored(whole, make), restored(whole, make)
    forgetful.methods[0].owed = {"0": 0.0}
    for window in batches[5:10]:
        for one in (whole, again, forgetful):
            update(one, window)
    assert torch.equal(again.weights.value, whole.weights.value)
    assert not torch.equal(forgetful.weights.value, whole.weights.value)


def test_units_that_are_not_mature_are_not_renewed() -> None:
    method = ContinualBackprop(rate=1.0, maturity=4)
    mine = ready(method, network())
    for number, window in enumerate(list(windows(16, 4, 20))[:12], start=1):
        update(mine, window)
        age = method.age["0"]
        assert bool((age == number % 5).all()), (number, age)


# ---- redo ----


def planted(model: nn.Module, every: list[Units], dead: list[int]) -> None:
    """Let ReLU units of the first layer be 0 for every input, and no others."""
    with torch.no_grad():
        for units in every:
            model.get_submodule(units.layer).bias.fill_(1)
        layer = model.get_submodule(every[0].layer)
        layer.weight[dead] = 0
        layer.bias[dead] = -1


@pytest.mark.parametrize("name", ["one hidden layer", "cnn", "cnn without a hidden layer"])
def test_redo_renews_planted_dead_units_and_only_those(name: str) -> None:
    model, method = chain(name), ReDo(every=2, threshold=0.0)
    method.check(model, Setting())
    units = method.units[0]
    dead = [0, units.size - 1]
    planted(model, method.units, dead)
    mine = learner(method, model=model, lr=1e-30)
    before = mine.weights.value.clone()
    x, y = images(8), torch.arange(8)
    update(mine, [Batch(x, y, 0, 8.0)])
    assert torch.equal(mine.weights.value, before), "not in the first of two updates"
    _, out = with_inputs(model, units.following, x)
    update(mine, [Batch(x[:4], y[:4], 0, 4.0), Batch(x[4:], y[4:], 0, 4.0)])
    moved = {
        key: (new != old)
        for (key, new), (_, old) in zip(
            mine.weights.layers(mine.weights.value), mine.weights.layers(before), strict=True
        )
    }
    incoming = moved[f"{units.layer}.weight"].flatten(1).any(1).nonzero().squeeze(1).tolist()
    assert incoming == dead
    outgoing = moved[f"{units.following}.weight"].transpose(0, 1).flatten(1).any(1).nonzero().squeeze(1)
    assert torch.equal(outgoing, units.inputs(torch.tensor(dead)).sort().values)
    assert torch.allclose(with_inputs(model, units.following, x)[1], out, rtol=1e-12), "dead units had no effect"


def test_redo_s_threshold_is_relative_to_the_layers_mean() -> None:
    for threshold in (0.0, 0.6, 0.9):
        model, method = chain("one hidden layer"), ReDo(every=1, threshold=threshold)
        mine = ready(method, model, lr=1e-30)
        units, x = method.units[0], images(8)
        h, _ = with_inputs(model, units.following, x)
        score = h.abs().mean(0) / h.abs().mean()
        before = model.get_submodule(units.following).weight.clone()
        update(mine, [Batch(x, torch.arange(8), 0, 8.0)])
        changed = (model.get_submodule(units.following).weight != before).any(0)
        assert torch.equal(changed, score <= threshold)


# ---- upgd ----


def test_upgd_is_the_published_step_on_a_vector_worked_out_by_hand() -> None:
    """w = (1, −2, 0), g = (−1, −1, 4), β = 0.5: u = (0.5, −1, 0), so u / max u = (1, −2, 0)."""
    method = UPGD(beta=0.5, sigma=0.0)
    model = nn.Sequential(nn.Linear(3, 1, bias=False)).double()
    mine = learner(method, model=model)
    mine.weights.value.copy_(torch.tensor([1.0, -2.0, 0.0]))
    g = torch.tensor([-1.0, -1.0, 4.0], dtype=torch.float64)
    wanted = g / (1 + torch.tensor([1.0, -2.0, 0.0], dtype=torch.float64).exp())
    with torch.no_grad():
        method.transform(g, mine)
    torch.testing.assert_close(g, wanted, rtol=1e-14, atol=0)
    assert g.tolist() == pytest.approx([-0.2689414213699951, -0.8807970779778823, 2.0])


def test_upgd_moves_useful_weights_less_and_its_noise_too() -> None:
    method = UPGD(beta=0.0, sigma=0.0)
    mine = learner(method)
    take(mine, next(windows(16, 4)))
    with torch.no_grad():
        mine.window.reduce(mine)
        before, w = mine.weights.grad.clone(), mine.weights.value
        method.transform(mine.weights.grad, mine)
    kept = mine.weights.grad / before
    useful = -before * w
    most, least = useful.topk(20).indices, useful.topk(20, largest=False).indices
    assert kept[most].max() < kept[least].min()
    noisy = [learner(UPGD(beta=0.0, sigma=sigma)) for sigma in (0.0, 1.0, 1.0)]
    ends = [train(one, 16, 4, count=1) for one in noisy]
    assert torch.equal(ends[1], ends[2])
    assert distance(ends[1], ends[0]) > 1e-3


# ---- with each other ----


@pytest.mark.parametrize("strategy", ["[er,l2_init]", "[redo,agem]", "[shrink_perturb,ewc]", "[continual_backprop,er]"])
def test_they_go_with_replay_and_penalties(strategy: str) -> None:
    words = ("stream=permuted", "stream.tasks=2", f"strategy={strategy}")
    assert len(built(stream(*words), *words).methods) == 2


@pytest.mark.parametrize("method", ["continual_backprop", "redo", "shrink_perturb"])
@pytest.mark.parametrize("projection", ["gpm", "trgp", "ogd", "adam_nscl"])
def test_new_weights_leave_the_subspace_of_a_projection(method: str, projection: str) -> None:
    words = ("stream=permuted", "stream.tasks=2")
    for names in ((method, projection), (projection, method)):
        chosen = (*words, f"strategy=[{','.join(names)}]")
        with pytest.raises(UserError, match=f"{method} replaces weights, which leaves the subspace that {projection}"):
            built(stream(*words), *chosen)
