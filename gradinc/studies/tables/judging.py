"""The verdict about a number, and about a claim: pure functions of a few numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from gradinc.records.statistics import CONFIDENCE, student

FEWEST_RUNS = 3
"""Smallest number of our own runs for a verdict."""

MOST_SEEDS = 100
"""Largest number of our own runs that is proposed for a narrower interval."""

BY_DIFFERENT_CODE = "the sides are by different code"
"""Reason why a claim has no verdict."""

NumberVerdict = Literal["reproduced", "differs", "interval too wide", "not judged"]

RULE = (
    "h = t · √(s²/n + s'²/n') + half a unit of the last printed digit, with t at 95 % (Welch). "
    "differs: |m − m'| > h. reproduced: |m − m'| ≤ h and h ≤ the column's tolerance. Otherwise: interval too wide. "
    "Where no spread is printed (or only by a secondary source), our spread is used (marked b). Where the number of "
    "runs is not known, it counts as one (marked n). Not judged: fewer than three runs of ours, other data, changed "
    "hyper-parameters, or a mean from a secondary source."
)
CLAIM_RULE = (
    "Paired by seed, 95 % interval of Student's t. supported: the whole interval is beyond the smallest effect "
    "that counts, in the direction of the claim. contradicted: the whole interval is on the other side of zero. "
    "Otherwise: not shown. Ratios are compared by their logarithms, and spreads over seeds by the F interval of the "
    "ratio of variances."
)


@dataclass(frozen=True)
class Judgement:
    """The result of comparing a printed number with ours.

    Attributes:
        difference: our number minus the printed one.
        half: h in `RULE`.
        borrowed: whether our spread is used because none is printed.
        seeds: of a too wide interval: the number of our runs with which h would be within the tolerance, if their
            spread stays the same; None if `MOST_SEEDS` are not enough.
        hopeless: whether no number of our runs would be enough, because the printed spread alone is wider.
    """

    verdict: NumberVerdict
    difference: float
    half: float
    borrowed: bool
    seeds: int | None = None
    hopeless: bool = False


def judge(
    mean: float,
    sd: float | None,
    n: int | None,
    ours: Sequence[float],
    *,
    unit: float,
    tolerance: float,
) -> Judgement:
    """Compare a printed mean with ours, by `RULE`.

    Args:
        mean, sd, n: from the publication; sd is None if not printed, n None if not known.
        ours: at least `FEWEST_RUNS` numbers.
        unit: one unit of the last printed digit.
        tolerance: the widest h of a reproduced number.
    """
    count, s = len(ours), stdev(ours)
    half = _half(sd, n, s, count) + unit / 2
    difference = fmean(ours) - mean
    # Both sides come from decimals: a tie must not be decided by the last bit of a float.
    apart = abs(difference) > half * (1 + 1e-12)
    verdict: NumberVerdict = "differs" if apart else "reproduced" if half <= tolerance else "interval too wide"
    seeds, hopeless = None, False
    if verdict == "interval too wide":
        # With few printed runs, h has its minimum at a finite number of ours: doubling passes near it.
        more = [*range(count + 1, MOST_SEEDS + 1), *(MOST_SEEDS << doubled for doubled in range(1, 30))]
        enough = next((each for each in more if _half(sd, n, s, each) + unit / 2 <= tolerance), None)
        seeds, hopeless = enough if enough in range(MOST_SEEDS + 1) else None, enough is None and sd is not None
    return Judgement(verdict, difference, half, sd is None, seeds, hopeless)


def _half(sd: float | None, n: int | None, s: float, count: int) -> float:
    """Return h without the rounding of the printed number.

    Args:
        sd, n: of the publication, as in `judge`.
        s, count: standard deviation and number of our runs.
    """
    theirs, own = (s if sd is None else sd) ** 2 / (n or 1), s**2 / count
    # Without a printed number of runs, only our own runs determine the precision of a spread.
    freedom = float(count - 1) if sd is None or n is None or n < 2 else _welch(theirs, n, own, count)
    return student(freedom) * math.sqrt(theirs + own)


def standard_deviation(spread: float, kind: str, n: int | None) -> float:
    """Return the standard deviation of a printed spread.

    Args:
        kind: ``sd``, ``sem`` (of the mean) or ``ci95`` (half the 95 % interval of the mean).
        n: number of its runs; needed for the last two.
    """
    if kind == "sd":
        return spread
    assert n is not None
    return spread * math.sqrt(n) / (1.0 if kind == "sem" else student(n - 1))


def _welch(theirs: float, n: int, own: float, count: int) -> float:
    """Return the degrees of freedom of Welch and Satterthwaite, from the two variances of the means."""
    below = theirs**2 / (n - 1) + own**2 / (count - 1)
    return (theirs + own) ** 2 / below if below else float(n + count - 2)


ClaimVerdict = Literal["supported", "contradicted", "not shown"]


@dataclass(frozen=True)
class ClaimJudgement:
    """The result of comparing two of our cells.

    Attributes:
        estimate, low, high: the advantage in the direction of the claim, with its 95 % interval; the logarithm of a
            ratio.
        pairs: seeds that both cells have.
    """

    verdict: ClaimVerdict
    estimate: float
    low: float
    high: float
    pairs: int


def judge_claim(
    of: Sequence[float], against: Sequence[float], *, higher: bool, effect: float, compare: str
) -> ClaimJudgement:
    """Compare two cells by `CLAIM_RULE`.

    Args:
        of, against: their numbers, paired by seed, at least two; above zero for ratios.
        higher: whether the claim is that `of` is higher.
        effect: the smallest relevant difference; for a ratio, its distance from 1.
        compare: ``difference``, ``ratio`` or ``spread``.
    """
    sign, pairs = (1.0 if higher else -1.0), len(of)
    if compare == "spread":
        estimate, reach = math.log(stdev(of) / stdev(against)), _f_reach(pairs)
    else:
        each = [math.log(a / b) if compare == "ratio" else a - b for a, b in zip(of, against, strict=True)]
        estimate, reach = fmean(each), student(pairs - 1) * stdev(each) / math.sqrt(pairs)
    least = effect if compare == "difference" else math.log1p(effect)
    low, high = sorted((sign * (estimate - reach), sign * (estimate + reach)))
    verdict: ClaimVerdict = "supported" if low > least else "contradicted" if high < 0 else "not shown"
    return ClaimJudgement(verdict, sign * estimate, low, high, pairs)


def _f_reach(pairs: int) -> float:
    """Return half the width of the 95 % interval of the logarithm of a ratio of two standard deviations."""
    from scipy.special import fdtri

    return 0.5 * math.log(float(fdtri(pairs - 1, pairs - 1, (1 + CONFIDENCE) / 2)))
