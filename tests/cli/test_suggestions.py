"""A line that says what is wrong also says what would be right: the key, the format, the package, the option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradinc.base.errors import UserError
from gradinc.cli.main import main
from gradinc.config.compose import load_config
from gradinc.config.validation import validate


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("optimizer.learning_rate=0.1", "Did you mean optimizer.lr?"),
        ("learning_rate=0.1", "Did you mean optimizer.lr?"),
        ("batch=8", "Did you mean data.batch_size?"),
        ("budget.iterations=5", "Did you mean budget.steps?"),
        ("stream.first=1", "Did you mean stream.first_identity, an option of stream=permuted, stream=rotated?"),
        ("evaluate.every=5", "Choose from: epochs, metric, rows, steps, tasks"),
        ("checkpoint.every=3", "Choose from: keep, seconds"),
        ("optimizer.zzz=1", "Choose from: lr, momentum, nesterov, weight_decay"),
        ("strategy=er strategy.methods.er.size=3", "Choose from: among, kind, loss, memory, replay"),
        ("strategy=er strategy.memory=200", "Did you mean strategy.methods.er.memory?"),
        ("data.batchsize=3", "Did you mean data.batch_size?"),
    ],
)
def test_an_unknown_key_is_told_by_its_section(words: str, fix: str) -> None:
    with pytest.raises(UserError, match="no such key") as caught:
        load_config(words.split())
    assert caught.value.fix == fix


def test_export_says_which_formats_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "outputs", "--csv", "x"]) == 2
    assert capsys.readouterr().err.startswith("--csv: is no format that runs are exported in. Give ")
    assert main(["export", "outputs"]) == 2
    assert "needs --tensorboard DIR" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["train", "model=linear"], ["train", "-m", "model=linear", "seed=0,1"]])
def test_a_place_in_which_nothing_can_be_made_is_bad_input(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("needs a folder that not even root can write to")
    assert main([*words, "output=/proc/nowhere", "budget.steps=1", "progress=quiet"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("/proc/nowhere/digits-linear-sgd-s")
    assert said.endswith("cannot be written: No such file or directory. Make it writable, or choose another place.\n")


def test_cross_entropy_on_values_says_how_to_get_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 3)), random.normal(size=40)
    np.savez(tmp_path / "set.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    words = ["model=linear", "criterion=cross_entropy", f"output={tmp_path}", "progress=quiet"]
    assert main(["train", "data=npz", f"data.root={tmp_path / 'set.npz'}", *words]) == 2
    assert capsys.readouterr().err == (
        "criterion=cross_entropy: data=npz has values, not classes. "
        "Leave it out, or give data.task=classes if y holds labels.\n"
    )
    assert main(["train", "data=diabetes", *words]) == 2
    assert capsys.readouterr().err.endswith("Leave it out, or choose a set with classes.\n")


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("ewc", ["ewc.strength=1e9"]),
        ("[mas,ewc]", ["mas.strength=1e9", "ewc.strength=1e9"]),
        ("derpp", ["derpp.alpha=1e30", "derpp.beta=0"]),
    ],
)
def test_a_divergence_names_the_weights_of_the_methods_own_terms(
    strategy: str, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"strategy={strategy}", *(f"strategy.methods.{option}" for option in options)]
    small = ["stream=split", "stream.tasks=2", "budget.epochs=1", "model=linear", f"output={tmp_path}"]
    assert main(["train", *words, *small]) == 1
    named = [f"strategy.methods.{option.partition('=')[0]}" for option in options if not option.endswith("=0")]
    assert f"Use a smaller {' or '.join([*named, 'optimizer.lr'])}; fresh=true runs it again." in " ".join(
        capsys.readouterr().out.split()
    )


def written(folder: Path, name: str, *words: str) -> None:
    """A run that has been begun."""
    (folder / name).mkdir(parents=True)
    document = load_config(words).document
    assert validate(document).document == document
    (folder / name / "config.yaml").write_text(json.dumps(document))  # JSON is YAML


def test_runs_are_found_by_the_strategy_that_was_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = {
        "plain": ["strategy=finetune"],
        "sum": ["strategy=accumulate", "strategy.window.size=3"],
        "replay": ["strategy=er", "strategy.methods.er.memory=77"],
        "both": ["strategy=[accumulate,er]"],
        "joint": ["stream=split", "strategy=joint"],
        "stable": ["stream=split", "strategy=stable_sgd"],
        "median": ["strategy=median"],
    }
    for name, words in runs.items():
        written(tmp_path, name, *words)

    def found(*conditions: str) -> set[str]:
        assert main(["runs", "--output", str(tmp_path), "--json", *conditions]) == 0
        return {each["run"] for each in json.loads(capsys.readouterr().out)}

    assert found("strategy=finetune") == found("strategy=sgd") == {"plain"}
    assert found("strategy=accumulate") == {"sum"}
    assert found("strategy=er") == {"replay"}
    assert found("strategy=[accumulate,er]") == {"both"}
    assert found("strategy=accumulate+er") == {"both"}
    assert found("strategy=joint,median") == {"joint", "median"}
    assert found("strategy=stable_sgd") == {"stable"}
    assert found("strategy!=finetune") == {"sum", "replay", "both", "joint", "median", "stable"}
    assert found("strategy=gem") == set()
    assert main(["runs", "--output", str(tmp_path), "strategy=finetne"]) == 2
    assert capsys.readouterr().err.startswith(
        "strategy=finetne: no run has it, and no strategy has this name. Did you mean finetune? Choose from: finetune"
    )
    assert main(["runs", "--output", str(tmp_path), "foo=1"]) == 2
    assert "or a key of a run's config, such as model.name=cnn or strategy=er." in capsys.readouterr().err


def test_an_unknown_part_may_be_in_a_folder_that_was_not_given(gradinc: Any, empty: Path) -> None:
    own, near = gradinc("train", "strategy=own_thing"), gradinc("train", "strategy=acumulate")
    assert own.err.endswith("; a part of your own needs --with FOLDER.\n")
    assert "--with" not in near.err
    assert gradinc("list", "rules").err.startswith("rules: unknown. Did you mean strategies? Choose from: strategies, ")
    kinds = gradinc("list", "methods").err
    assert kinds.startswith("methods: unknown. Did you mean strategies? Choose from: strategies, ")
    assert kinds.endswith(", tables.\n"), "all kinds are named"
