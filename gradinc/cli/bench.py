"""``gradinc bench``: speed against the hand-written PyTorch loops, or the cost of every strategy."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Hand over to a bench, which has options of its own."""
    rest = [argument for argument in arguments if argument not in ("--quiet", "-q")]
    if rest[:1] == ["strategies"]:
        from gradinc.studies.bench import strategies

        return strategies.main(rest[1:])
    if rest[:1] == ["incremental"]:
        from gradinc.studies.bench import incremental

        return incremental.main(rest[1:])
    from gradinc.studies.bench import handwritten

    return handwritten.main(rest)
