"""Fair comparison: budgets in every unit, scaling rules, and a record that does not depend on who looks."""

from __future__ import annotations

import io
import json
import math

import pytest
import torch
from rich.console import Console

from gradinc.base.errors import UserError
from gradinc.config.compose import load_config
from gradinc.core.rate import SCALES
from gradinc.data.dataset import load_dataset
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model
from gradinc.runs.execute import execute
from gradinc.studies.terminal import TerminalDisplay

SMALL = ["data=digits", "model=mlp", "model.width=12", "model.depth=1", "progress=quiet", "threads=1", "dtype=float64"]
PLAIN = ["optimizer.momentum=0", "optimizer.lr=0.1"]
ROWS = 1294


@pytest.fixture
def run(tmp_path):
    def made(name, *more):
        config = load_config([*SMALL, *more, f"output={tmp_path}", f"name={name}"])
        assert execute(config) == 0
        return json.loads((tmp_path / name / "result.json").read_text())

    return made


STRATEGIES = {"sgd": (1, 1), "accumulate": (8, 1), "enhance": (8, 1), "sam": (1, 2), "msam": (8, 2)}
"""Micro-batches of a window, and passes over each micro-batch."""


AMOUNTS = [("samples", 960), ("steps", 6), ("rows", 3072), ("passes", 96), ("epochs", 2)]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("unit", "amount"), AMOUNTS)
def test_a_budget_stops_every_strategy_at_the_same_amount_of_its_unit(run, strategy, unit, amount):
    """At the first window's end that reaches it: 960 rows are 30 micro-batches, so 4 windows of 8 go a little over."""
    size, passes = STRATEGIES[strategy]
    keys = [f"strategy={strategy}", f"strategy.window.size={size}", f"budget.{unit}={amount}"]
    result = run("run", *keys)
    assert result["ended_by"] == unit
    if unit == "epochs":
        assert (result["epochs"], result["samples"]) == (2, 2 * ROWS)
    else:
        largest = {"samples": 32 * size, "steps": 1, "rows": 32 * size * passes, "passes": size * passes}[unit]
        assert amount <= result[unit] < amount + largest
    assert result["rows"] == result["forward_rows"] == result["backward_rows"] == passes * result["samples"]
    assert result["passes"] == result["rows"] / 32
    assert result["seconds"] > 0


SPLIT = ["stream=split", "stream.tasks=3", "budget.rows=1000", "data.batch_size=10"]


def test_tasks_of_equal_rows_cost_the_same_whatever_the_strategy_does(run):
    """Up to a window of each task's end and what is taken at the last one: here three windows of 10 + 10 rows, and 50.

    EWC's rows at a task's end are part of the next one.
    """
    costs, samples = {}, {}
    for strategy in ("finetune", "er", "lwf", "sam", "ewc", "mir"):
        options = {"er": ["strategy.methods.er.replay=10"], "ewc": ["strategy.methods.ewc.rows=50"]}.get(strategy, [])
        result = run(strategy, *SPLIT, f"strategy={strategy}", *options)
        costs[strategy], samples[strategy] = result["rows"], result["samples"]
        assert result["ended_by"] == "rows"
    assert all(3000 <= rows <= 3000 + 3 * 60 + 50 for rows in costs.values()), costs
    assert costs["finetune"] == samples["finetune"]
    assert samples["er"] == pytest.approx(1500, abs=30)
    assert samples["sam"] == costs["sam"] / 2
    assert samples["lwf"] == pytest.approx(1000 + 2 * 1000 / 1.5, abs=30)
    assert samples["ewc"] == pytest.approx(3000 - 2 * 50, abs=30)


def test_a_schedule_ends_where_rows_end(run, tmp_path):
    """Experience replay makes about half of the updates that the rows would make alone."""
    for name, options in {"finetune": [], "er": ["strategy.methods.er.replay=10"]}.items():
        run(name, *SPLIT, f"strategy={name}", *options, "schedule=linear", "log.steps=1")
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        rates = [line["lr"] for line in lines if line["task"] == 2 and "lr" in line]
        assert rates[0] > 0.95 * 0.05
        assert rates[-1] < 0.05 * 0.05


def test_what_methods_take_at_a_task_s_end_can_leave_nothing_of_the_next_and_that_is_said(run, tmp_path):
    ewc = ["budget.rows=300", "strategy=ewc", "strategy.methods.ewc.rows=400"]
    config = load_config([*SMALL[:-3], *SPLIT[:2], *ewc, "progress=plain", f"output={tmp_path}", "name=all"])
    text = io.StringIO()
    assert execute(config, TerminalDisplay(Console(file=text, width=300), "plain")) == 0
    said = [line for line in text.getvalue().splitlines() if "warning: task" in line]
    assert len(said) == 2
    assert (
        "task 2: at the end of the task before, methods used as many rows as budget.rows allows for this task"
        in said[0]
    )


def test_a_budget_of_passes_is_refused_where_a_micro_batch_has_no_size_yet():
    with pytest.raises(UserError, match=r"^budget\.passes=9: counts micro-batches.*Use budget\.rows"):
        load_config([*SMALL, "strategy.window.micro_batch=auto", "budget.passes=9"])


def test_a_budget_of_seconds_ends_after_them_and_not_long_after(run):
    result = run("run", "budget.seconds=0.3")
    assert result["ended_by"] == "seconds"
    assert result["seconds"] >= 0.3
    assert result["steps"] > 0


def test_the_first_limit_that_is_reached_counts(run):
    assert run("a", "budget.samples=640", "budget.steps=100")["ended_by"] == "samples"
    assert run("b", "budget.samples=640", "budget.steps=10")["ended_by"] == "steps"


@pytest.mark.parametrize(("rule", "factor"), [("linear", 4), ("sqrt", 2), ("none", 1)])
def test_the_scaling_rule_is_that_learning_rate_written_by_hand(run, rule, factor):
    """300 micro-batches of 4 rows: every window is full."""
    window = ["strategy.window.size=4", "data.batch_size=4", "budget.samples=1200", "optimizer.momentum=0.5"]
    scaled = run("scaled", *window, "optimizer.lr=0.05", f"strategy.scale_lr={rule}")
    by_hand = run("hand", *window, f"optimizer.lr={0.05 * factor}")
    assert scaled["steps"] == by_hand["steps"] == 75
    assert scaled["test"]["loss"] == pytest.approx(by_hand["test"]["loss"], rel=1e-12)
    other = run("other", *window, f"optimizer.lr={0.05 * factor * 1.01}")
    assert abs(other["test"]["loss"] - by_hand["test"]["loss"]) > 1e-6
    assert set(SCALES) == {"linear", "sqrt", "none"}


def learner(*keys):
    config = load_config([*SMALL, *keys])
    dataset = load_dataset(config.data, "cpu", torch.float64)
    model = build_model(config, Shape(dataset.shape, dataset.outputs), torch.device("cpu"))
    return build_learner(config, model, build_criterion(dataset), ROWS)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nadam", "radam"])
def test_scaled_beta2_forgets_half_after_as_many_samples(optimizer):
    def half_life(size, *keys):
        mine = learner(f"optimizer={optimizer}", "optimizer.beta2=0.99", f"strategy.window.size={size}", *keys)
        beta2 = mine.optimizer.param_groups[0]["betas"][1]
        return 32 * size * math.log(0.5) / math.log(beta2)

    scaled = [half_life(size, "strategy.scale_beta2=true") for size in (1, 4, 16)]
    assert scaled == pytest.approx([scaled[0]] * 3, rel=1e-9)
    assert half_life(4) == pytest.approx(4 * scaled[0], rel=1e-9)


def test_an_optimizer_without_beta2_is_refused():
    with pytest.raises(UserError, match=r"^strategy\.scale_beta2=true: optimizer=sgd has no beta2\. Use "):
        learner("strategy.scale_beta2=true")


def test_sam_and_clip_over_windows_of_four_are_the_large_batch_as_commands_too(run):
    keys = ["strategy=[sam,clip]", "strategy.methods.clip.norm=0.2", "budget.epochs=2", *PLAIN]
    windows = run("windows", *keys, "data.batch_size=16", "strategy.window.size=4")
    large = run("large", *keys, "data.batch_size=64")
    assert windows["steps"] == large["steps"]
    assert windows["test"]["loss"] == pytest.approx(large["test"]["loss"], rel=1e-10)
    plain = run("plain", *PLAIN, "budget.epochs=2", "data.batch_size=64")
    assert abs(plain["test"]["loss"] - large["test"]["loss"]) > 1e-4


def test_a_short_window_is_dropped_as_a_short_batch_is(run):
    """1,294 rows are 20 windows of 64 and 14 rows, which are a micro-batch of 14 after 80 of 16."""
    dropped = ["strategy.window.last=drop", "budget.epochs=2", *PLAIN]
    found = [run("one", *dropped, "data.batch_size=64")]
    for size in (2, 4):
        found.append(run(f"{size}", *dropped, f"data.batch_size={64 // size}", f"strategy.window.size={size}"))
        assert found[-1]["test"]["loss"] == pytest.approx(found[0]["test"]["loss"], rel=1e-10)
    assert [(result["steps"], result["samples"]) for result in found] == [(2 * 20, 2 * 1280)] * 3
    flushed = run("flush", *dropped[1:], "data.batch_size=64")
    assert (flushed["steps"], flushed["samples"]) == (2 * 21, 2 * 1294)


@pytest.mark.parametrize("window", [[], ["strategy.window.size=4"], ["strategy.window.due=items"]])
@pytest.mark.parametrize("budget", ["budget.epochs=3", "budget.samples=25600", "budget.steps=7"])
def test_a_schedule_plans_as_many_updates_as_there_are_without_the_dropped_windows(run, window, budget):
    """The factor of a line is 0 after its last update, and not before."""
    keys = ["data.batch_size=32", "strategy.window.last=drop", "schedule=linear", budget, *window]
    schedule, steps = learner(*keys).rate.schedule, run("run", *keys)["steps"]
    assert schedule(steps) == 0 < schedule(steps - 1)


def test_an_epoch_without_a_full_batch_is_refused_before_anything_is_created(tmp_path):
    def command(rows):
        keys = ["strategy.window.last=drop", f"data.batch_size={rows}", "budget.epochs=1", f"output={tmp_path}"]
        return load_config([*SMALL, *keys, "progress=quiet"])

    with pytest.raises(UserError, match=r"last=drop: an epoch has fewer than the 1,295 rows of a window, so no "):
        execute(command(1295))
    assert not list(tmp_path.iterdir())
    assert execute(command(1294)) == 0


@pytest.mark.parametrize("strategy", ["accumulate", "lookahead", "agreement"])
def test_looking_on_changes_no_bit_even_in_mid_window(run, strategy):
    """41 micro-batches in windows of 6 that are carried over: every validation but the last comes in mid-window."""
    keys = [f"strategy={strategy}", "strategy.window.size=6", "strategy.window.last=carry", "budget.epochs=3"]
    often = run("often", *keys, "diagnostics=true", "log.steps=1")
    rarely = run("rarely", *keys, "evaluate.epochs=3")
    assert often["weights_digest"] == rarely["weights_digest"]
    assert often["weights_digest"] != run("other", *keys, "seed=1")["weights_digest"]


def test_beta2_is_scaled_by_the_windows_that_there_really_are():
    def beta2(*keys):
        return learner("optimizer=adam", "strategy.scale_beta2=true", *keys).optimizer.param_groups[0]["betas"][1]

    items = ("strategy.window.due=items", "strategy.window.items.rows=128", "data.batch_size=32")
    assert beta2(*items) == beta2("strategy.window.size=4", "data.batch_size=32") != beta2()
    with pytest.raises(UserError, match=r"scale_beta2=true: needs windows of one size, and due=norm_test changes it"):
        beta2("strategy.window.due=norm_test")
