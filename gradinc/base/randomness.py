"""Generators derived from (seed, purpose, …), so that a restart needs only a position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *purpose: object) -> int:
    """Return a 63-bit seed for one purpose, e.g. ``derive(0, "order", task, epoch)``.

    The purpose is hashed as text, so it contains numbers and words only. PyTorch's CUDA generators use all 63 bits. Its
    CPU generators (MT19937) use the low 32 bits: two given purposes share their draws there with probability 2⁻³²,
    and among n purposes two share theirs with a probability of about n²/2³³, 1 % for 9,300. So two micro-batches of
    a long run may have the same dropout mask.
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: object, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new generator for one purpose."""
    return torch.Generator(device=device).manual_seed(derive(seed, *purpose))


@contextmanager
def seeded(seed: int, *purpose: object) -> Iterator[None]:
    """Seed PyTorch's default CPU generator with `seed` inside, and restore its state outside.

    For code that takes no generator, such as the initialisation in ``nn.Linear``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, *purpose))
        yield
