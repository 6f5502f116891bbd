"""The checks of `gradinc bench cuda`, on the CPU: what holds passes, and what does not is found."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gradinc.config.compose import load_config
from gradinc.methods.clip import Clip
from gradinc.studies.bench import cuda, windows
from gradinc.studies.bench.cpu_draws import cpu_draws
from gradinc.studies.bench.cuda_speed import TRAININGS, speeds

CPU = torch.device("cpu")


def config(strategy: str) -> Any:
    return load_config([*windows.SMALL, *windows.strategy_words(strategy)])


def test_two_devices_that_compute_the_same_are_equal_and_a_mistake_of_one_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The mistake is a millionth of the gradient, in the second device's first window."""
    assert cuda.equality("clip", config("clip"), CPU, CPU).passed
    real, calls = Clip.transform, []

    def wrong(self: Clip, g: Tensor, learner: Any) -> None:
        real(self, g, learner)
        calls.append(learner)
        if len(calls) == 2 * windows.WINDOWS + 1:
            g.mul_(1 + 1e-6)

    monkeypatch.setattr(Clip, "transform", wrong)
    found = cuda.equality("clip", config("clip"), CPU, CPU)
    assert not found.passed
    assert len(calls) == 4 * windows.WINDOWS


def test_a_check_that_ends_with_an_error_has_failed() -> None:
    def mixes(rounds: int) -> cuda.Checked:
        raise RuntimeError("Expected all tensors to be on the same device\nand more")

    wrong = cuda.Checked("equal: er", False, "Expected all tensors to be on the same device")
    assert cuda.attempted("equal: er", mixes, 1) == wrong
    assert cuda.checks(CPU)["equal: er"](1).passed


@pytest.mark.parametrize("strategy", ["noise", "dp", "gss", "mir", "pgd_at", "ewc"])
def test_the_draws_of_a_check_are_those_of_a_run_on_the_cpu(strategy: str) -> None:
    learner, stream = windows.learner_of(config(strategy), CPU)
    windows.train_windows(learner, stream, config(strategy), CPU)
    assert torch.equal(windows.trained(config(strategy), CPU), learner.weights.value)


def test_draws_for_another_device_come_from_the_cpu_and_are_put_there() -> None:
    """The device ``meta`` is on every machine, and has no numbers."""
    with cpu_draws():
        generator = torch.Generator(device="meta").manual_seed(5)
        assert generator.device.type == "meta"
        assert torch.randn(3, generator=generator, device="meta").device.type == "meta"
        assert torch.empty(3, device="meta").exponential_(generator=generator).device.type == "meta"
        after = torch.rand(3, generator=generator, device="cpu")
    twin = torch.Generator().manual_seed(5)
    torch.randn(3, generator=twin)
    torch.empty(3).exponential_(generator=twin)
    assert torch.equal(after, torch.rand(3, generator=twin))


def test_a_wait_passes_only_if_it_is_listed_and_a_listed_one_must_happen() -> None:
    def waits() -> None:
        raise RuntimeError("called a synchronizing CUDA operation")

    def fails() -> None:
        raise RuntimeError("no kernel")

    listed = cuda.judge_waits("gem", {"gem"}, waits)
    assert listed.passed
    assert listed.detail == "waits: a quadratic program of the products of the tasks' gradients is solved on the CPU"
    unlisted = cuda.judge_waits("er", set(), waits)
    assert (unlisted.passed, unlisted.detail.startswith("waits: no reason is listed: called a")) == (False, True)
    assert cuda.judge_waits("er", set(), lambda: None).passed
    assert not cuda.judge_waits("gem", {"gem"}, lambda: None).passed
    with pytest.raises(RuntimeError, match="no kernel"):
        cuda.judge_waits("er", set(), fails)


def test_a_found_micro_batch_makes_the_updates_of_the_given_one() -> None:
    found = cuda.found_micro_batch(CPU)
    assert found.passed, found
    assert found.detail.startswith("128 rows for 16; ")


def test_the_speeds_of_both_sides_are_printed() -> None:
    assert "samples per second, by hand" in speeds(TRAININGS[0], CPU, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_command_says_so_in_one_line(gradinc: Any) -> None:
    outcome = gradinc("bench", "cuda")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "gradinc bench cuda: needs a GPU, and this torch has none. Use a machine with one.\n"
