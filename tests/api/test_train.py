"""``gradinc.train`` and ``gradinc.sweep`` are the command line: the same directory, the same digest, the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import gradinc
from gradinc.api.sweep import Runs
from gradinc.cli.main import main
from gradinc.config.arguments import arguments, literal
from gradinc.config.compose import load_config
from gradinc.config.overrides import parse

SMALL = {"model": "linear", "budget": {"epochs": 2}, "progress": "quiet"}


def log(path: Path) -> bytes:
    return (path / "metrics.jsonl").read_bytes()


def test_a_run_from_python_is_the_run_of_the_command():
    run = gradinc.train("strategy.window.size=2", SMALL, seed=3)
    again = ["model=linear", "budget.epochs=2", "strategy.window.size=2", "seed=3", "progress=quiet"]
    assert main(["train", *again, "output=other"]) == 0
    (other,) = Path("other").iterdir()
    assert other.name == run.path.name
    assert log(other) == log(run.path)
    assert gradinc.load(other).meta["identity"] == run.meta["identity"]
    assert run.meta["segments"][0]["command"].startswith("gradinc train strategy.window.size=2 model=linear")


def test_a_finished_run_is_returned_at_once():
    run = gradinc.train(SMALL)
    written = {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if not path.name.startswith(".")}
    again = gradinc.train(SMALL)
    assert again.path == run.path
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_every_form_of_a_key_is_the_same_key():
    forms = [
        arguments(["strategy.window.size=4"], {}),
        arguments([{"strategy.window.size": 4}], {}),
        arguments([], {"strategy.window.size": np.int64(4)}),
        arguments([], {"strategy": {"window": {"size": 4}}}),
    ]
    assert all(form == forms[0] for form in forms)
    assert arguments([], {"model": {"name": "mlp", "bias": True}}) == ["model=mlp", "model.bias=true"]
    config = load_config(arguments([], {"strategy": ["accumulate", "clip"], "init": Path("a b'c\\")}))
    assert list(config.strategy.methods) == ["clip"]
    assert config.init == "a b'c\\"


@pytest.mark.parametrize(
    "value",
    [
        *(
            "a",
            "a b",
            "it's",
            "a\\",
            "\\'",
            "[x,y]",
            "007",
            "null",
            "True",
            "1e5",
            "a,b",
            "",
            "é",
            "{a:1}",
            "range(3)",
            " a ",
        ),
        *(None, True, 1, 0.1, 1e-5, float("inf"), [1, [2.5, "x,y"]], {"a": {"b": [1]}}),
    ],
)
def test_a_value_from_python_is_read_as_this_value(value):
    assignment = parse(f"key={literal('key', value)}")
    assert assignment.value == value
    assert type(assignment.value) is type(value)
    assert not assignment.sweep


def test_bad_input_is_one_line_and_creates_nothing(folder):
    for words, keys, line in [
        (["optm.lr=0.1"], {}, r"optm\.lr: no such key\. Did you mean optimizer\.lr\?"),
        ([], {"seed": range(3)}, r"seed=\[0,1,2\]: need a whole number"),
        (["seed=0,1"], {}, "seed=0,1: has several values"),
        ([], {"seed": object()}, r"seed=object: is no value of a key"),
        ([3], {}, "3: is no argument"),
    ]:
        with pytest.raises(gradinc.UserError, match=line) as error:
            gradinc.train(*words, **keys)
        assert "\n" not in str(error.value)
    assert list(folder.iterdir()) == []


def test_a_run_that_diverges_raises_and_can_be_opened():
    with pytest.raises(gradinc.UserError, match="diverged at step") as error:
        gradinc.train(SMALL, model="mlp", optimizer={"name": "sgd", "lr": 1e30})
    assert gradinc.load(str(error.value.where)).status == "diverged"


def test_the_callers_settings_of_pytorch_change_no_number_and_are_restored():
    run = gradinc.train(SMALL)
    threads = torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    state, mode = torch.random.get_rng_state(), torch.get_deterministic_debug_mode()
    try:
        with torch.no_grad():
            other = gradinc.train(SMALL, output="other")
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.random.get_rng_state(), state)
        assert torch.get_deterministic_debug_mode() == mode
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)
    assert log(other.path) == log(run.path)


def test_a_signal_stops_a_run_which_the_same_call_resumes():
    code = (
        "import gradinc, os, signal\n"
        "try:\n"
        "    gradinc.train(model='linear', budget=dict(steps=200_000), log=dict(steps=1000), name='mine')\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, bufsize=1)
    assert process.stdout is not None
    for line in process.stdout:
        if "linear" in line:
            process.send_signal(signal.SIGINT)
            break
    rest = process.stdout.read()
    assert process.wait() == 0
    assert "stopped" in rest
    assert "Resume with: gradinc train model=linear budget.steps=200000" in rest


def test_a_sweep_has_the_runs_of_the_command_and_a_table():
    runs = gradinc.sweep("strategy=sgd,accumulate", SMALL, seed=range(2), output="runs")
    assert [run.config.seed for run in runs] == [0, 1, 0, 1]
    assert [run.path for run in gradinc.sweep("strategy=sgd,accumulate", SMALL, seed=[0, 1], output="runs")] == [
        run.path for run in runs
    ]
    assert log(gradinc.train(SMALL, strategy="sgd", seed=1, output="one").path) == log(runs[1].path)
    pytest.importorskip("pandas")
    table = runs.table()
    assert list(table["seed"]) == [0, 1, 0, 1]
    assert list(table["status"]) == ["finished"] * 4
    assert list(table["test.accuracy"]) == [run.result["test"]["accuracy"] for run in runs]
    assert "strategy" in table.columns or "size" in table.columns


def test_a_table_without_pandas_says_what_to_install(monkeypatch):
    runs = Runs([gradinc.train(SMALL)])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(gradinc.UserError, match=r'needs pandas.*pip install "gradinc\[pandas\]"'):
        runs.table()


def test_a_list_of_lists_sweeps_over_lists():
    assert arguments([], {"strategy": [["accumulate", "clip"], "sgd"]}, sweeps=True) == [
        "strategy=[accumulate,clip],sgd"
    ]
    with pytest.raises(gradinc.UserError, match="seed: has no value"):
        gradinc.sweep(SMALL, seed=[])
