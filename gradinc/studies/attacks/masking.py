"""Signs of gradient masking: the model hides its gradients, so that gradient-based attacks prove nothing.

Paper: Athalye et al. 2018, arXiv 1802.00420, section 3.1; Carlini et al. 2019, arXiv 1902.06705.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gradinc.base.text import percent_text

SIGNIFICANCE = 0.01
"""Significance level at which one attack fools more rows than another."""

_FLAT = 1e-30
"""A gradient per input unit whose largest entry is smaller counts as zero: float32 ends near 1e-38.

After long training 1e-15 is usual, and PGD can follow the sign of such gradients as well as any other."""

FLAT_SHARE = 0.1
"""Smallest share of rows without a gradient for a warning."""

SURVIVING = 0.05
"""Largest accuracy without a warning if an adversary may change any pixel to grey."""


def stronger(first: Tensor, second: Tensor) -> bool:
    """Return whether the first attack fools more rows than the second by more than chance.

    The sign test over the rows that one of them fools and the other does not.

    Args:
        first, second: the rows that each attack has fooled, shape (rows,).
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if only_first <= only_second:
        return False
    from scipy.stats import binomtest

    return float(binomtest(only_first, only_first + only_second).pvalue) < SIGNIFICANCE


def at_equal_size(fooled: Mapping[str, Tensor]) -> list[str]:
    """Return the conclusions from all attacks of one ε.

    Args:
        fooled: the rows that each attack has fooled, shape (rows,): fgsm, pgd, margin and noise.
    """
    said = []
    if stronger(fooled["fgsm"], fooled["pgd"]):
        said.append("one step (FGSM) fools more rows than many (PGD)")
    if stronger(fooled["noise"], fooled["pgd"]):
        said.append("random noise fools more rows than PGD")
    elif stronger(fooled["noise"], fooled["fgsm"]):
        said.append("random noise fools more rows than FGSM")
    if stronger(fooled["margin"], fooled["pgd"]):
        lost = float((fooled["margin"] & ~fooled["pgd"]).double().mean())
        if lost > SURVIVING:  # a small difference is usual, because the two losses differ
            said.append(
                f"PGD on the margin of the logits fools {percent_text(lost)} more rows than on the cross-entropy"
            )
    return said


def at_the_limit(fooled: Mapping[str, Tensor], eps: float) -> list[str]:
    """Return the conclusion from an ε at which any image can become grey."""
    left = {name: 1 - float(fooled[name].double().mean()) for name in ("pgd", "margin")}
    kept = [f"{percent_text(share)} under {name}" for name, share in left.items() if share > SURVIVING]
    return [f"at ε = {eps:.3g} accuracy does not fall to 0: {' and '.join(kept)} is left"] if kept else []


def flat_gradients(largest: Tensor) -> list[str]:
    """Return the conclusion from the size of the gradients.

    Args:
        largest: the largest entry of each row's gradient of the cross-entropy, per input unit, for the rows that
            are classified correctly.
    """
    share = float((largest < _FLAT).double().mean()) if len(largest) else 0.0
    return [f"{percent_text(share)} of the rows have no gradient to follow"] if share > FLAT_SHARE else []


def wilson(successes: int, rows: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927): inside 0 to 1, with a positive width also at 0 and 1."""
    from scipy.stats import binomtest

    low, high = binomtest(successes, rows).proportion_ci(method="wilson")
    return float(low), float(high)


def largest_entries(gradient: Tensor, std: Tensor) -> Tensor:
    """Return the largest entry of each row's gradient, per input unit, shape (rows,)."""
    return torch.linalg.vector_norm((gradient / std).flatten(1), ord=torch.inf, dim=1)
