"""When an update is due, the noise of gradients, and diagnostics that change nothing."""

import math

import pytest
import torch

from gradinc.base.errors import UserError
from gradinc.config.catalog import load_part
from gradinc.core.noise_scale import trace_and_signal


def due(name, **options):
    return load_part("due", name)(**options)


def test_items_takes_as_many_micro_batches_as_bring_the_rows():
    assert due("items", rows=100).size(0, 1, 32) == 4
    assert due("items", rows=96).size(0, 1, 32) == 3


def test_stages_change_the_size_at_their_update_and_hold_the_window_s_before():
    stages = due("stages", begin=[2, 5], sizes=[4, 8])
    assert [stages.size(update, 1, 32) for update in range(7)] == [1, 1, 4, 4, 4, 8, 8]
    for begin, sizes in (([5, 2], [1, 1]), ([1], [1, 2])):
        with pytest.raises(UserError, match="one size for each update"):
            due("stages", begin=begin, sizes=sizes)


def rows_of_gradients(count, size, *, noise, signal=1.0, seed=0):
    """Mean gradients of micro-batches of i.i.d. rows: ‖G‖² = signal², tr(Σ) = noise²."""
    random = torch.Generator().manual_seed(seed)
    truth = torch.zeros(50, dtype=torch.float64)
    truth[0] = signal
    g = truth + torch.randn(count, 50, generator=random, dtype=torch.float64) * noise / math.sqrt(50 * size)
    return g, [(row.dot(row), float(size)) for row in g]


def test_the_noise_estimates_are_unbiased():
    traces, signals = [], []
    for seed in range(400):
        g, squares = rows_of_gradients(8, 16, noise=3.0, seed=seed)
        trace, signal = trace_and_signal(squares, g.mean(0).dot(g.mean(0)))
        traces.append(float(trace))
        signals.append(float(signal))
    assert sum(traces) / 400 == pytest.approx(9.0, rel=0.05)
    assert sum(signals) / 400 == pytest.approx(1.0, rel=0.05)


def test_the_noise_estimates_hold_for_ragged_micro_batches():
    random = torch.Generator().manual_seed(1)
    sizes = torch.tensor([4.0, 16.0, 1.0, 11.0], dtype=torch.float64)
    traces = []
    for _ in range(600):
        g = torch.randn(4, 50, generator=random, dtype=torch.float64) * 3 / torch.sqrt(50 * sizes)[:, None]
        g[:, 0] += 1
        mean = (g * sizes[:, None]).sum(0) / sizes.sum()
        squares = [(row.dot(row), float(n)) for row, n in zip(g, sizes, strict=True)]
        traces.append(float(trace_and_signal(squares, mean.dot(mean))[0]))
    assert sum(traces) / 600 == pytest.approx(9.0, rel=0.06)


def test_the_noise_estimates_hold_for_some_of_the_micro_batches():
    traces, signals = [], []
    for seed in range(2000):
        g, squares = rows_of_gradients(4, 16, noise=3.0, seed=seed)
        trace, signal = trace_and_signal(squares[:1], g.mean(0).dot(g.mean(0)), 64.0)
        traces.append(float(trace))
        signals.append(float(signal))
    assert sum(traces) / 2000 == pytest.approx(9.0, rel=0.05)
    assert sum(signals) / 2000 == pytest.approx(1.0, rel=0.05)


def test_noise_scale_asks_for_its_rows_and_keeps_its_limits():
    policy = due("noise_scale", smallest=2, largest=40)
    assert policy.size(0, 1, 16) == 2
    for seed in range(60):
        g, squares = rows_of_gradients(8, 16, noise=16.0, seed=seed)
        policy.observe(squares, g.mean(0).dot(g.mean(0)))
    assert policy.size(60, 1, 16) == pytest.approx(16, abs=8)  # B = 256 rows = 16 micro-batches of 16
    assert due("noise_scale").size(0, 500, 16) == 64
    quiet = due("noise_scale")
    g, squares = rows_of_gradients(8, 16, noise=1e-3)
    quiet.observe(squares, g.mean(0).dot(g.mean(0)))
    assert quiet.size(1, 8, 16) == 2


def test_the_norm_test_grows_windows_when_it_fails_and_only_then():
    passed, failed = due("norm_test", eta=1.0), due("norm_test", eta=0.1)
    g, squares = rows_of_gradients(8, 16, noise=3.0)
    for policy in (passed, failed):
        policy.observe(squares, g.mean(0).dot(g.mean(0)))
    assert passed.size(1, 8, 16) == 8
    assert failed.size(1, 8, 16) > 30
    calm, calm_squares = rows_of_gradients(8, 16, noise=1e-3)
    before = failed.size(1, 8, 16)
    failed.observe(calm_squares, calm.mean(0).dot(calm.mean(0)))
    assert failed.size(2, 8, 16) == before, "it never shrinks"
