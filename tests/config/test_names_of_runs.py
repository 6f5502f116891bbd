"""A run is called by what was typed, and is found under each of its names."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradinc.config.compose import compose_jobs, load_config
from gradinc.config.identity import identity_digest, run_directory, run_name


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("", "digits-cnn-sgd"),
        ("strategy=finetune stream=split", "digits-cnn-split-finetune"),
        ("optimizer=adam", "digits-cnn-adam"),
        ("optimizer=pytorch_optimizer", "digits-cnn-lion"),
        ("strategy=er optimizer=pytorch_optimizer optimizer.algorithm=adan stream=split", "digits-cnn-split-er-adan"),
        ("strategy=er optimizer=adam stream=split", "digits-cnn-split-er-adam"),
        ("strategy=[er,clip] stream=split", "digits-cnn-split-er+clip"),
        ("strategy=enhance", "digits-cnn-enhance"),
        ("strategy=stable_sgd model=mlp stream=split", "digits-mlp-split-stable_sgd"),
        ("strategy=er strategy.window.size=4 stream=split", "digits-cnn-split-accumulate+er"),  # er alone is another
        ("strategy=finetune stream=split stream.data=joint", "digits-cnn-split-joint"),
        ("strategy.window.size=4", "digits-cnn-accumulate"),
        ("strategy.name=mine", "digits-cnn-mine"),
    ],
)
def test_a_run_is_called_by_what_was_typed(typed: str, name: str) -> None:
    config = load_config(typed.split())
    assert run_name(config) == f"{name}-s0-{identity_digest(config)[:8]}"


def test_a_name_changes_nothing_that_is_computed() -> None:
    digests = {identity_digest(load_config(typed)) for typed in (["strategy=finetune"], ["strategy=sgd"], [])}
    assert len(digests) == 1


def test_an_old_name_of_the_same_content_is_the_same_run(empty: Path) -> None:
    config = load_config(["strategy=finetune"])
    tail = f"-s0-{identity_digest(config)[:8]}"
    assert run_directory(config).name == "digits-cnn-finetune" + tail
    old = Path("outputs") / ("digits-cnn-sgd" + tail)
    (Path("outputs") / "digits-cnn-sgd-s1-00000000").mkdir(parents=True)
    assert run_directory(config).name == "digits-cnn-finetune" + tail  # of another seed: not this run
    old.mkdir()
    assert run_directory(config) == old


def test_one_sweep_trains_two_names_of_one_strategy_once() -> None:
    jobs = compose_jobs(["strategy=sgd,finetune,accumulate"], multirun=True)
    assert [job.directory.name.split("-")[2] for job in jobs] == ["sgd", "sgd", "accumulate"]
    assert jobs[0].directory == jobs[1].directory != jobs[2].directory
