"""Quantities that are measured once on a finished run's weights, and stored in its directory.

Collecting a table only reads stored measurements; `running.make_measurements` makes the missing ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from gradinc.config.values import Count, Positive, Whole
from gradinc.records.measured import Measurement


def robust_accuracy(
    *, eps: Positive, norm: Literal["linf", "l2"] = "linf", steps: Count = 20, restarts: Count = 2, rows: Whole = 1000
) -> Measurement:
    """Share of test rows classified correctly under FGSM, PGD on two losses, and noise of size ε: `gradinc attack`."""
    return Measurement("attack", {"eps": eps, "norm": norm, "steps": steps, "restarts": restarts, "rows": rows})


def inversion_psnr(
    *, rows: Count = 1, variant: Literal["dlg", "cosine"] = "cosine", steps: Count = 400, windows: Count = 1
) -> Measurement:
    """Mean PSNR, in dB, of images reconstructed from the gradient of a window of `rows`: `gradinc invert`.

    The mean is over `windows` windows with different rows, drawn by the window's number.
    """
    return Measurement("inversion", {"rows": rows, "variant": variant, "steps": steps, "windows": windows})


NUMBER = {"attack": "worst", "inversion": "psnr"}
"""Name of the quantity's number in a measurement."""

MEASURED: dict[str, Callable[..., Measurement]] = {each.__name__: each for each in (robust_accuracy, inversion_psnr)}

NOT_MEASURED = "not measured (gradinc table without --collect does it)"
"""Return the reason why a finished run has no such number."""
