"""What an adversary finds is what a known library finds, and a model that hides its gradients is told."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from gradinc.cli.main import main
from gradinc.config.compose import load_config
from gradinc.data.input_space import InputSpace
from gradinc.runs.execute import execute
from gradinc.runs.trained import FinishedRun
from gradinc.studies.attacks.evasion import Ball, fgsm, input_gradient, margin, noisy, pgd, row_cross_entropy
from gradinc.studies.attacks.masking import largest_entries, stronger, wilson
from gradinc.studies.attacks.measure import AttackSettings, Target, measure_attack, target_of

QUICK = AttackSettings((0.03, 0.1), steps=10, restarts=1, rows=150)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    small = ["data=digits", "model=mlp", "model.width=32", "model.depth=1", "progress=quiet", "threads=1"]
    for name, more in {"plain": ["budget.epochs=6"], "tasks": ["stream=split", "budget.epochs=1"]}.items():
        assert execute(load_config([*small, *more, f"output={folder}", f"name={name}"])) == 0
    table = [*small[1:], "data=diabetes", "budget.epochs=1", f"output={folder}", "name=table"]
    assert execute(load_config(table)) == 0
    return folder


@pytest.fixture(scope="module")
def target(runs):
    return target_of(FinishedRun.open(runs / "plain"), QUICK)


def by_name(measured):
    return {(each.attack, each.eps): each for each in measured}


def warnings(measured):
    return [said for each in measured for said in each.warnings]


def images(target):
    (x, y, _), *_ = target.chunks
    return x, y


# ---- against an independent implementation ----


class InInputUnits(nn.Module):
    """The run's model behind its normalisation, as another library wants it: images of 0 to 1."""

    def __init__(self, run):
        super().__init__()
        dataset = run.dataset()
        self.model = run.with_weights(best=False)
        self.mean, self.std = (torch.tensor(v).float().view(-1, 1, 1) for v in (dataset.mean, dataset.std))

    def forward(self, x):
        return self.model((x - self.mean) / self.std)


@pytest.mark.parametrize(("norm", "order", "eps"), [("linf", np.inf, 0.1), ("l2", 2, 0.5)])
def test_pgd_and_fgsm_fool_the_rows_that_the_adversarial_robustness_toolbox_fools(runs, target, norm, order, eps):
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    run = FinishedRun.open(runs / "plain")
    behind = InInputUnits(run)
    x, y = images(target)
    raw = (x * behind.std + behind.mean).clamp(0, 1).numpy()
    known = PyTorchClassifier(
        behind, nn.CrossEntropyLoss(), raw.shape[1:], 10, clip_values=(0.0, 1.0), device_type="cpu"
    )
    labels = y.numpy()
    np.random.seed(0)
    theirs = {
        "fgsm": FastGradientMethod(known, norm=order, eps=eps),
        "pgd": ProjectedGradientDescentPyTorch(
            known, norm=order, eps=eps, eps_step=2.5 * eps / 40, max_iter=40, num_random_init=1, verbose=False
        ),
    }
    ours = by_name(measure_attack(target, dataclasses.replace(QUICK, eps=(eps,), norm=norm, steps=40)))
    for name, attack in theirs.items():
        accuracy = float((known.predict(attack.generate(raw, labels)).argmax(1) == labels).mean())
        assert ours[name, eps].accuracy == pytest.approx(accuracy, abs=0.021), name
    assert ours["pgd", eps].accuracy < ours["clean", 0.0].accuracy - 0.2, "there was something to find"


def test_a_step_of_fgsm_is_epsilon_in_input_units_along_the_sign(runs, target):
    x, y = images(target)
    leaf = x.clone().requires_grad_()
    nn.functional.cross_entropy(FinishedRun.open(runs / "plain").model(leaf), y).backward()
    std = target.space.std
    by_hand = torch.minimum(torch.maximum(x + 0.1 / std * leaf.grad.sign(), target.space.low), target.space.high)
    assert torch.allclose(fgsm(target.logits[0], x, y, Ball(target.space, 0.1)), by_hand, atol=1e-5)


# ---- what every attack must hold ----


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("eps", [0.0, 0.05, 0.5])
def test_no_attack_leaves_the_ball_or_the_range_and_epsilon_0_changes_nothing(target, norm, eps):
    x, y = images(target)
    space, ball = target.space, Ball(target.space, eps, norm)
    random = torch.Generator().manual_seed(0)
    start = space.random(x, eps, norm, random)
    moved = {
        "start": start,
        "noise": noisy(x, ball, random),
        "fgsm": fgsm(target.logits[0], x, y, ball),
        "pgd": pgd(target.logits[0], x, y, ball, steps=5, step_size=eps, start=start)[0],
        "margin": pgd(target.logits[0], x, y, ball, steps=5, step_size=eps, start=start, loss=margin)[0],
    }
    for name, at in moved.items():
        away = ((at - x) * space.std).flatten(1)
        assert torch.linalg.vector_norm(away, ord=torch.inf if norm == "linf" else 2, dim=1).max() <= eps + 1e-6, name
        assert (at >= torch.minimum(space.low, x)).all(), name
        assert (at <= torch.maximum(space.high, x)).all(), name
        assert torch.equal(at, x) == (eps == 0), name


def test_accuracy_falls_to_0_as_epsilon_grows_and_an_honest_model_is_not_suspected(target):
    found = measure_attack(target, dataclasses.replace(QUICK, eps=(0.0, 0.02, 0.1, 0.4), restarts=2))
    clean, *others = found
    worst = [each.accuracy for each in others if each.attack == "worst"]
    assert worst[0] == clean.accuracy > 0.9
    assert worst == sorted(worst, reverse=True)
    assert worst[-1] < 0.02
    assert warnings(found) == []


def test_crafting_touches_no_grad_and_no_weight(runs):
    run = FinishedRun.open(runs / "plain")
    target = target_of(run, QUICK)
    model = run.model
    x, y = images(target)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pgd(model, x, y, Ball(target.space, 0.1), steps=3, step_size=0.1, start=x)
    assert all(p.grad is None for p in model.parameters())
    assert x.grad is None
    assert not x.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_margin_is_above_0_for_misclassified_rows_only_also_with_masked_logits():
    logits = torch.tensor([[3.0, 1.0, -torch.inf], [1.0, 3.0, -torch.inf]])
    assert margin(logits, torch.tensor([0, 0])).tolist() == [-2.0, 2.0]


# ---- models that hide their gradients ----


def hidden(target, change, before=lambda x: x):
    own = target.logits[0]
    return Target(target.space, target.chunks, [lambda x: change(own(before(x)))])


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return (x * 8).round() / 8

    @staticmethod
    def backward(ctx, grad):
        return torch.zeros_like(grad)


class Reversed(Rounded):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return -grad


MASKED = {
    "logits times 1000": (lambda out: 1000 * out, lambda x: x, "no gradient"),
    "rounded inputs": (lambda out: out, Rounded.apply, "no gradient"),
    "inputs cut off": (lambda out: out, torch.Tensor.detach, "no gradient"),
    "gradients reversed": (lambda out: out, lambda x: Reversed.apply(x), "fall to 0"),
}


@pytest.mark.parametrize("kind", MASKED)
def test_a_model_that_hides_its_gradients_is_flagged(target, kind):
    change, before, words = MASKED[kind]
    found = measure_attack(hidden(target, change, before), dataclasses.replace(QUICK, eps=(0.1,)))
    assert any(words in said for said in warnings(found)), warnings(found)
    honest = by_name(measure_attack(target, dataclasses.replace(QUICK, eps=(0.1,))))
    assert by_name(found)["pgd", 0.1].accuracy > honest["pgd", 0.1].accuracy + 0.1


def test_saturated_logits_do_not_fool_the_worst_case(target):
    found = by_name(measure_attack(hidden(target, lambda out: 1000 * out), dataclasses.replace(QUICK, eps=(0.1,))))
    honest = by_name(measure_attack(target, dataclasses.replace(QUICK, eps=(0.1,))))
    assert found["worst", 0.1].accuracy == pytest.approx(honest["worst", 0.1].accuracy, abs=0.05)


def test_chance_is_not_taken_for_a_stronger_attack():
    few = torch.tensor([True] * 3 + [False] * 97)
    assert not stronger(few, ~few & few)
    many = torch.tensor([True] * 12 + [False] * 88)
    assert stronger(many, ~many & many)
    assert not stronger(~many & many, many)


@pytest.mark.parametrize(("right", "low", "high"), [(0, 0.0, 0.2775), (5, 0.2366, 0.7634), (10, 0.7225, 1.0)])
def test_intervals_are_wilsons(right, low, high):
    assert wilson(right, 10) == pytest.approx((low, high), abs=1e-4)


# ---- the space ----


def test_epsilon_is_in_input_units_per_channel():
    std = torch.tensor([0.5, 0.25]).view(2, 1, 1)
    space = InputSpace(std, -torch.ones(2, 1, 1) / std, torch.ones(2, 1, 1) / std)
    x = torch.zeros(1, 2, 1, 1)
    step = space.steepest(torch.ones(1, 2, 1, 1), 0.1, "linf")
    assert (step * std).flatten().tolist() == pytest.approx([0.1, 0.1])
    far = space.project(x + 9, x, 0.1, "l2")
    assert float(((far * std) ** 2).sum().sqrt()) == pytest.approx(0.1)


# ---- the command ----


def tell(capsys, *arguments):
    capsys.readouterr()
    code = main(["attack", *map(str, arguments)])
    return code, capsys.readouterr()


def test_the_command_gives_the_same_numbers_again_and_leaves_the_run_alone(runs, capsys, tmp_path):
    before = {path: path.read_bytes() for path in (runs / "plain").rglob("*") if path.is_file()}
    asked = [runs / "plain", "--eps", "0,8/255,0.2", "--steps", "5", "--rows", "60"]
    code, first = tell(capsys, *asked, "--json", "--figure", tmp_path / "a.svg")
    assert code == 0
    assert tell(capsys, *asked, "--json")[1].out == first.out
    assert {path: path.read_bytes() for path in (runs / "plain").rglob("*") if path.is_file()} == before
    clean, *others = json.loads(first.out)
    assert (clean["attack"], clean["eps"]) == ("clean", 0.0)
    assert {each["eps"] for each in others if each["attack"] == "pgd"} == {0.0, 8 / 255, 0.2}
    assert {each["accuracy"] for each in others if each["eps"] == 0} == {clean["accuracy"]}
    assert all(each["low"] <= each["accuracy"] <= each["high"] for each in others)
    assert (tmp_path / "a.svg").read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    code, told = tell(capsys, *asked)
    assert max(map(len, told.out.splitlines()[3:])) <= 80
    assert "0.03137  " in told.out


def test_a_stream_of_tasks_is_attacked_on_the_rows_of_all_of_them_as_it_is_tested(runs, capsys):
    code, told = tell(capsys, runs / "tasks", "--eps", "0.05", "--steps", "2", "--rows", "0", "--json")
    assert code == 0
    clean = json.loads(told.out)[0]
    run = FinishedRun.open(runs / "tasks")
    assert clean["rows"] == len(run.dataset().test)
    assert clean["accuracy"] == pytest.approx(run.evaluate()["test"]["accuracy"], abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "nowhere: no such run."),
        (["table"], "data=diabetes: has regression targets, not images with classes."),
        (["plain", "--eps", "-0.1"], "--eps -0.1: need a number ≥ 0"),
        (["plain", "--eps", "0.1,nan"], "--eps nan: need a number ≥ 0"),
        (["plain", "--eps", "0.1,,0.2"], "--eps (nothing): need a number ≥ 0"),
        (["plain", "--eps", "8/0"], "--eps 8/0: need a number ≥ 0"),
        (["plain", "--eps", "8"], "--eps 8: is more than the whole range of an image"),
        (["plain", "--rows", "-1"], "--rows -1: need a whole number ≥ 0."),
        (["plain", "--steps", "0"], "--steps 0: need a whole number ≥ 1."),
        (["plain", "--step-size", "0"], "--step-size 0: need a number > 0."),
        (["plain", "--norm", "l1"], "gradinc attack: "),
        (["plain", "--device", "abacus"], "--device abacus: need auto, cpu"),
        (["plain", "--figure", "a.png"], "--figure a.png: need the name of an SVG file"),
        (["plain", "--figure", "plain/a.svg"], "--figure plain/a.svg: is inside the run"),
    ],
)
def test_bad_input_gets_one_line(runs, monkeypatch, capsys, arguments, line):
    monkeypatch.chdir(runs)
    code, told = tell(capsys, *arguments)
    assert code == 2
    assert told.err.startswith(line)
    assert told.err.count("\n") == 1


def test_cross_entropy_is_flat_where_the_margin_is_not():
    logits = torch.tensor([[2000.0, 0.0]], requires_grad=True)
    y = torch.tensor([0])
    (flat,) = torch.autograd.grad(row_cross_entropy(logits, y).sum(), logits)
    (steep,) = torch.autograd.grad(margin(logits, y).sum(), logits)
    assert flat.abs().max() == 0
    assert steep.abs().min() == 1


def test_a_model_that_is_very_sure_is_not_taken_for_one_that_hides(target):
    """Logits three times as large: the gradients become tiny, and PGD finds as much as before by their signs."""
    sure = dataclasses.replace(target, logits=[lambda x, own=own: 3 * own(x) for own in target.logits])
    gradients = [input_gradient(sure.logits[task], row_cross_entropy, x, y)[0] for x, y, task in sure.chunks]
    largest = torch.cat([largest_entries(gradient, sure.space.std) for gradient in gradients])
    assert (largest < 1e-10).double().mean() > 0.3
    before, after = (by_name(measure_attack(each, QUICK))["pgd", 0.1].accuracy for each in (target, sure))
    assert after == pytest.approx(before, abs=0.05)
    assert warnings(measure_attack(sure, QUICK)) == []
