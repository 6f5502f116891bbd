"""Gradient inversion: a single row comes back, noise stops it, and the run stays as it is."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image
from torch import nn

from gradinc.cli.main import main
from gradinc.config.compose import load_config
from gradinc.config.schema import DataSection
from gradinc.data.dataset import load_dataset
from gradinc.data.input_space import InputSpace
from gradinc.runs.execute import execute
from gradinc.studies.attacks.inversion import invert, labels_of, psnr


def gradient_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    """The gradient of the mean cross-entropy over a window, one tensor for each layer."""
    loss = nn.functional.cross_entropy(model(x), y)
    return list(torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad]))


@pytest.fixture(scope="module")
def small():
    dataset = load_dataset(DataSection("digits"), "cpu", torch.float64)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Sigmoid(), nn.Linear(32, 10)).double()
    return model, dataset.test.x, dataset.test.y, InputSpace.of(dataset).to(torch.float64)


def found(small, rows, variant, noise=0.0):
    model, x, y, space = small
    random = torch.Generator().manual_seed(0)
    gradient = gradient_of(model, x[:rows], y[:rows])
    gradient = [g + noise * torch.randn(g.shape, generator=random, dtype=g.dtype) for g in gradient]
    return invert(model, gradient, x[:rows], y[:rows], space, variant=variant, steps=300, random=random)


@pytest.mark.parametrize("variant", ["dlg", "cosine"])
def test_a_single_row_comes_back_with_its_label_and_not_through_enough_noise(small, variant):
    clear = found(small, 1, variant)
    assert float(clear.psnr) > 30
    assert clear.labels == 1
    assert clear.y.tolist() == small[2][:1].tolist()
    assert float(found(small, 1, variant, noise=0.3).psnr) < 15


@pytest.mark.parametrize("variant", ["dlg", "cosine"])
def test_rows_of_a_window_come_back_beside_their_originals(small, variant):
    both = found(small, 2, variant)
    assert (both.psnr > 30).all()
    assert both.labels == 1


def test_labels_are_read_from_the_bias(small):
    model, x, y, _ = small
    for rows in (1, 3, 8):
        mine = labels_of(gradient_of(model, x[:rows], y[:rows]), rows)
        assert sorted(mine.tolist()) == sorted(y[:rows].tolist())


def test_psnr_is_that_of_input_units(small):
    _, x, _, space = small
    off = x[:1] + 0.1 / space.std
    assert float(psnr(x[:1], off, space)) == pytest.approx(20.0, abs=0.01)
    assert float(psnr(x[:1], x[:1], space)) == pytest.approx(100.0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    small = ["data=digits", "model=mlp", "model.width=32", "model.depth=1", "model.activation=tanh", "budget.steps=3"]
    kinds = {"plain": [], "private": ["strategy=dp", "strategy.window.dp.noise=2"], "tasks": ["stream=split"]}
    for name, more in kinds.items():
        config = load_config([*small, *more, "progress=quiet", "threads=1", f"output={folder}", f"name={name}"])
        assert execute(config) == 0
    return folder


def tell(capsys, *arguments):
    capsys.readouterr()
    code = main(["invert", *map(str, arguments)])
    return code, capsys.readouterr()


def test_a_run_gives_its_rows_away_and_a_private_one_does_not(runs, capsys, tmp_path):
    before = {path: path.read_bytes() for path in (runs / "plain").rglob("*") if path.is_file()}
    asked = ["--windows", "1,2", "--steps", "200", "--json"]
    code, told = tell(capsys, runs / "plain", *asked, "--figure", tmp_path / "a.png")
    assert code == 0
    plain = json.loads(told.out)
    assert [(each["window"], each["variant"]) for each in plain] == [(n, v) for n in (1, 2) for v in ("dlg", "cosine")]
    assert max(each["psnr"] for each in plain if each["window"] == 1) > 30
    assert tell(capsys, runs / "plain", *asked)[1].out == told.out
    assert {path: path.read_bytes() for path in (runs / "plain").rglob("*") if path.is_file()} == before
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width == 2 * 49
    private = json.loads(tell(capsys, runs / "private", *asked)[1].out)
    assert max(each["psnr"] for each in private) < 15


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "nowhere: no such run."),
        (["tasks"], "tasks: is a run on tasks"),
        (["plain", "--windows", "0"], "--windows 0: need whole numbers"),
        (["plain", "--windows", "9000"], "--windows 9000: there are"),
        (["plain", "--steps", "0"], "--steps 0: need a whole number"),
        (["plain", "--figure", "a.svg"], "--figure a.svg: need the name of a PNG file"),
    ],
)
def test_bad_input_gets_one_line(runs, monkeypatch, capsys, arguments, line):
    monkeypatch.chdir(runs)
    code, told = tell(capsys, *arguments)
    assert code == 2
    assert line in told.err
    assert told.err.count("\n") == 1
