"""Draws of different purposes are independent, as far as PyTorch's generators let them be."""

from __future__ import annotations

import pytest
import torch

from gradinc.base.randomness import derive


def drawn(seed, device="cpu"):
    return torch.rand(8, generator=torch.Generator(device).manual_seed(seed), device=device).tolist()


def test_a_cpu_generator_uses_the_low_32_bits_of_a_seed():
    """The docstring of `derive` says so: if PyTorch ever uses all bits, every run's numbers change and so must it."""
    assert drawn(5) == drawn(5 + 2**32)
    assert drawn(5) != drawn(5 + 2**31)
    seeds = [derive(0, "order", 0, epoch) for epoch in range(20_000)]
    assert len(set(seeds)) == 20_000
    assert max(seeds) < 2**63
    # n²/2³³ = 5 % for 20,000 purposes of any run; of these none two meet
    assert len({seed % 2**32 for seed in seeds}) == 20_000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cuda_generator_uses_all_bits():
    assert drawn(5, "cuda") != drawn(5 + 2**32, "cuda")
    assert drawn(5, "cuda") != drawn(5 + 2**62, "cuda")
