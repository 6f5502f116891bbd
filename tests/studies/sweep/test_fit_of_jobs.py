"""A job that does not fit its data is found before a sweep, a search or a table creates anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from gradinc.base.errors import UserError
from gradinc.cli.main import main
from gradinc.config.cluster import Cluster
from gradinc.config.compose import Job, compose_jobs, load_config
from gradinc.data.dataset import load_dataset, open_source, outline
from gradinc.data.source import Source
from gradinc.data.stream import open_stream
from gradinc.runs.prepare import check, prepare
from gradinc.studies.sweep.fit import check_fit

SMALL = ("budget.epochs=1", "device=cpu", "threads=1")

MISFITS = {
    "data=diabetes model=resnet18": "needs images",
    "data=diabetes model=mlp data.augment=[flip]": "not images",
    "data=diabetes model=mlp budget.accuracy=0.9": "has no classes",
    "data=diabetes model=mlp stream=split": "tasks are made of classes",
    "data=diabetes model=mlp data.memory=stream": "cannot stream",
    "data=diabetes model=mlp criterion=cross_entropy": "has values, not classes",
    "data=digits model=mlp stream=split stream.tasks=20": "has only 10 classes",
    "data=digits model=mlp stream=blurry scenario=domain": "rows of each other's classes",
    "data=digits model=mlp stream=split stream.scored_tasks=9": "has 5 tasks",
    "data=digits model=mlp stream=split strategy=er strategy.methods.er.memory=5 strategy.methods.er.kind=ring": "ring",
    "data=digits model=vit stream=split strategy=gpm": "works on linear and plain convolutional layers",
    "data=digits model=mlp strategy.window.size=1000 strategy.window.last=drop": "no update would be made",
    "data=digits model=mlp data.test=0": "would be for testing",
    "data=npz data.root=nowhere.npz model=mlp": "no such file",
    "data=digits model=mlp init=nowhere": "no such run",
}


@pytest.mark.parametrize("words", MISFITS)
def test_a_check_says_what_the_job_would_say(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config([*SMALL, *words.split()])
    with pytest.raises(UserError, match=MISFITS[words]) as job:
        prepare(config)
    with pytest.raises(UserError) as checked:
        check(config, outline)
    assert str(checked.value) == str(job.value)


@pytest.mark.parametrize("words", ["model=mlp", "model=cnn strategy=ewc", "model=linear data=diabetes"])
def test_a_check_lets_pass_what_fits(words: str) -> None:
    check(load_config([*SMALL, *words.split()]), outline)


def test_one_misfit_of_nine_jobs_is_named_and_nothing_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    grid = ["model=linear,mlp,resnet18", "data=digits,diabetes,modular"]
    assert main(["train", "-m", *grid, *SMALL, "name=grid"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("model=resnet18 data=diabetes: needs images")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_search_with_a_misfit_at_an_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text("space:\n  model.patch: [2, 9]\nbase: [model=vit]\n")
    assert main(["tune", "space.yaml", *SMALL]) == 2
    assert "model.patch=9" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["space.yaml"]


def test_a_table_with_a_misfit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["table", "mnist1d", "data=diabetes", "--seeds", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_image_is_decoded_and_data_that_are_elsewhere_are_left_to_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for number in range(10):
            Image.new("RGB", (8, 8)).save(tmp_path / label / f"{number}.png")
    words = [*SMALL, "data=image_folder", f"data.root={tmp_path}"]
    config = load_config([*words, "model=cnn", "stream=split", "stream.tasks=2"])
    whole, known = load_dataset(config.data, "cpu", torch.float32), outline(config.data)
    assert open_stream(config, known, outline).setting.outputs == open_stream(config, whole).setting.outputs == 2
    assert open_stream(config, known, outline).longest == open_stream(config, whole).longest
    with monkeypatch.context() as patch:
        patch.setattr(ImageFile.ImageFile, "load", None)
        check_fit(compose_jobs([*words, "model=cnn,vit", "seed=0,1"], multirun=True))
        with pytest.raises(UserError, match=r"^model=gru: "):
            check_fit(compose_jobs([*words, "model=cnn,gru"], multirun=True))
    job = Job((), load_config([*SMALL, "data=npz", "data.root=/compute/node/only.npz", "model=mlp"]))
    with pytest.raises(UserError, match="no such file"):
        check_fit([job])
    check_fit([Job((), job.config, Cluster("slurm"))])


def test_a_data_set_is_opened_once_for_all_its_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "mine.npz", x=np.random.default_rng(0).normal(size=(60, 4)), y=np.arange(60) % 3)
    opened: list[str] = []

    def counted(name: str, root: str | None, options: dict[str, Any]) -> Source:
        opened.append(name)
        return open_source(name, root, options)

    monkeypatch.setattr("gradinc.data.dataset.open_source", counted)
    words = [*SMALL, "data=npz", f"data.root={tmp_path / 'mine.npz'}", "model=mlp,linear", "data.batch_size=4,8"]
    check_fit(compose_jobs([*words, "seed=0,1,2"], multirun=True))
    assert len(opened) == 1
