"""``gradinc bench``: speed against the hand-written PyTorch loop."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Hand over to the bench, which has options of its own."""
    from gradinc import bench

    return bench.main([argument for argument in arguments if argument not in ("--quiet", "-q")])
