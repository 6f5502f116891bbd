"""Sharpness: the largest eigenvalue, also where another one is larger in magnitude."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from gradinc.cli.main import main
from gradinc.config.compose import load_config
from gradinc.core.criterion import CrossEntropy
from gradinc.data.batch import Batch
from gradinc.runs.execute import execute
from gradinc.runs.trained import FinishedRun
from gradinc.studies.sharpness import Hessian, largest_eigenvalue, sharpness


def symmetric(eigenvalues, seed=0):
    """A matrix with these eigenvalues, and the eigenvectors in its columns."""
    random = torch.Generator().manual_seed(seed)
    count = len(eigenvalues)
    basis, _ = torch.linalg.qr(torch.randn(count, count, generator=random, dtype=torch.float64))
    return basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T


SPECTRA = {
    "positive": ([5.0, 3.0, 1.0, 0.1], 5.0, 5.0),
    "indefinite": ([5.0, 3.0, -1.0, -4.0], 5.0, 5.0),
    "largest magnitude negative": ([2.0, 1.0, -1.0, -6.0], 2.0, -6.0),
    "negative definite": ([-0.5, -1.0, -2.0, -8.0], -0.5, -8.0),
    "nothing": ([0.0, 0.0, 0.0, 0.0], 0.0, 0.0),
    "one of many": ([7.0, *[0.0] * 40], 7.0, 7.0),
    "twice the same": ([3.0, 3.0, 1.0, -2.0], 3.0, 3.0),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_it_is_the_largest_eigenvalue_and_not_the_largest_magnitude(name):
    eigenvalues, largest, dominant = SPECTRA[name]
    matrix = symmetric(eigenvalues)
    start = torch.ones(len(eigenvalues), dtype=torch.float64)
    found = largest_eigenvalue(lambda v: matrix @ v, start, tolerance=1e-6, iterations=2000)
    assert found.converged
    assert found.value == pytest.approx(largest, abs=1e-5)
    assert found.dominant == pytest.approx(dominant, abs=1e-5)
    assert abs(found.value - largest) <= max(found.residual, 1e-12)


def test_a_tie_of_opposite_signs_is_no_trouble():
    matrix = symmetric([4.0, 1.0, -4.0])
    found = largest_eigenvalue(lambda v: matrix @ v, torch.ones(3, dtype=torch.float64), tolerance=1e-6)
    assert found.converged
    assert found.value == pytest.approx(4.0, abs=1e-5)


def test_what_has_not_converged_says_so_and_how_far_off_it_may_be():
    matrix = symmetric([1.0, 0.999, 0.5, -0.3])
    start = torch.ones(4, dtype=torch.float64)
    short = largest_eigenvalue(lambda v: matrix @ v, start, tolerance=1e-9, iterations=5)
    assert not short.converged
    assert short.products == 10
    exact = torch.linalg.eigvalsh(matrix)
    assert (exact - short.value).abs().min() <= short.residual


def test_products_are_those_of_a_dense_hessian_of_the_mean_loss():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 3)).double()
    x, y = torch.randn(37, 5, dtype=torch.float64), torch.randint(0, 3, (37,))
    parts = [(0, 10), (10, 30), (30, 37)]
    product = Hessian(model, CrossEntropy(), lambda: [Batch(x[a:b], y[a:b], 0, float(b - a)) for a, b in parts])
    names, shapes = zip(*((name, p.shape) for name, p in model.named_parameters()), strict=True)
    sizes = [shape.numel() for shape in shapes]

    def loss(weights):
        layers = {n: w.view(s) for n, w, s in zip(names, weights.split(sizes), shapes, strict=True)}
        return nn.functional.cross_entropy(torch.func.functional_call(model, layers, (x,)), y)

    weights = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    dense = torch.func.hessian(loss)(weights)
    for column in range(0, len(weights), 7):
        unit = torch.zeros_like(weights)
        unit[column] = 1
        assert torch.allclose(product(unit), dense[column], rtol=1e-9, atol=1e-12)
    eigenvalues = torch.linalg.eigvalsh(dense)
    found = largest_eigenvalue(product, product.start(), tolerance=1e-7, iterations=3000)
    assert found.converged
    assert found.value == pytest.approx(float(eigenvalues[-1]), rel=1e-6)
    assert eigenvalues[0] < -1e-3, "the loss curves downwards somewhere"


class Bowl(nn.Module):
    """Outputs whose squared errors add up to a quadratic of known curvature."""

    def __init__(self, curvature):
        super().__init__()
        self.w = nn.Parameter(torch.ones(len(curvature), dtype=torch.float64))
        self.curvature = torch.tensor(curvature, dtype=torch.float64)

    def forward(self, x):
        return (self.curvature * self.w.square() / 2).sum().expand(len(x))


class Taken(CrossEntropy):
    """The model's output is the loss."""

    def total(self, batch, out):
        return out.sum()


@pytest.mark.parametrize(("curvature", "largest"), [([3.0, 1.0, -5.0], 3.0), ([-1.0, -2.0, -9.0], -1.0)])
def test_a_quadratic_has_its_curvature_at_every_point(curvature, largest):
    model = Bowl(curvature)
    rows = Batch(torch.zeros(4, 1, dtype=torch.float64), torch.zeros(4, dtype=torch.long), 0, 4.0)
    hessian = Hessian(model, Taken(), lambda: [rows])
    assert largest_eigenvalue(hessian, hessian.start(), tolerance=1e-6).value == pytest.approx(largest, abs=1e-5)


# ---- of a run ----


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    small = ["data=digits", "model=mlp", "model.width=8", "model.depth=1", "progress=quiet", "threads=1"]
    for name, more in {"plain": [], "tasks": ["stream=split"], "large": ["optimizer.lr=0.2"]}.items():
        config = load_config([*small, *more, "budget.epochs=2", f"output={folder}", f"name={name}"])
        assert execute(config) == 0
    return folder


def test_the_command_gives_the_same_number_again_and_leaves_the_run_alone(runs, capsys):
    def tell(*arguments):
        capsys.readouterr()
        assert main(["sharpness", *arguments]) == 0
        return capsys.readouterr().out

    before = {path: path.read_bytes() for path in (runs / "plain").rglob("*") if path.is_file()}
    first = json.loads(tell(str(runs / "plain"), "--json"))
    assert json.loads(tell(str(runs / "plain"), "--json")) == first
    assert {path: path.read_bytes() for path in (runs / "plain").rglob("*") if path.is_file()} == before
    assert first["converged"]
    assert first["sharpness"] > 0
    assert first["rows"] == 1294
    assert f"sharpness  {first['sharpness']:.6g} ± " in tell(str(runs / "plain"))
    few = json.loads(tell(str(runs / "plain"), "--rows", "100", "--json"))
    assert few["rows"] == 100
    assert few["sharpness"] != first["sharpness"]


def test_it_is_the_eigenvalue_that_scipy_finds_for_the_run(runs):
    """Lanczos on the same products: another algorithm, and another library."""
    import numpy as np
    from scipy.sparse.linalg import LinearOperator, eigsh

    run = FinishedRun.open(runs / "plain")
    dataset = run.dataset()
    x, y = dataset.train.x, dataset.train.y
    hessian = Hessian(run.with_weights(best=False).double(), CrossEntropy(), lambda: [Batch(x.double(), y, 0, len(y))])
    count = len(hessian.start())

    def product(v):
        return hessian(torch.from_numpy(np.ravel(v))).numpy()

    operator = LinearOperator((count, count), matvec=product, dtype=np.float64)
    (largest,) = eigsh(operator, k=1, which="LA", return_eigenvectors=False, v0=np.ones(count))
    assert sharpness(run, tolerance=1e-4)["sharpness"] == pytest.approx(largest, rel=1e-4)


def test_a_stream_of_tasks_has_the_rows_of_all_of_them(runs):
    found = sharpness(FinishedRun.open(runs / "tasks"))
    assert found["rows"] == 1294
    assert found["converged"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "nowhere: no such run."),
        (["plain", "--rows", "-1"], "--rows -1: need a whole number ≥ 0. 0 takes all rows."),
        (["plain", "--tolerance", "2"], "--tolerance 2.0: need a number > 0 and < 1."),
        (["plain", "--iterations", "0"], "--iterations 0: need a whole number ≥ 1."),
    ],
)
def test_bad_input_gets_one_line(runs, monkeypatch, capsys, arguments, line):
    monkeypatch.chdir(runs)
    assert main(["sharpness", *arguments]) == 2
    assert capsys.readouterr().err.startswith(line)
