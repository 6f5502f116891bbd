"""The verdict by numbers that were worked out by hand, and by an independent Welch test."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from gradinc.studies.tables.judging import judge, judge_claim, standard_deviation

OURS = [79.0, 80.0, 81.0]  # mean 80, deviation 1
T2 = 4.302653  # Student's t at 95 % with two degrees of freedom


@pytest.mark.parametrize(
    ("mean", "tolerance", "verdict"),
    [
        (80.0, 5.5, "reproduced"),
        (85.4, 5.5, "reproduced"),
        (85.5, 5.5, "differs"),
        (74.5, 5.5, "differs"),
        (80.0, 5.4, "interval too wide"),
        (90.0, 0.1, "differs"),
    ],
)
def test_without_a_printed_spread_ours_stands_for_it(mean: float, tolerance: float, verdict: str) -> None:
    # h = 4.302653 · √(1/1 + 1/3) + 0.5 = 5.4683
    found = judge(mean, None, None, OURS, unit=1.0, tolerance=tolerance)
    assert found.half == pytest.approx(T2 * math.sqrt(4 / 3) + 0.5, rel=1e-6)
    assert found.half == pytest.approx(5.4683, abs=1e-4)
    assert found.borrowed
    assert found.difference == 80.0 - mean
    assert found.verdict == verdict


def test_more_published_runs_narrow_the_interval() -> None:
    one, ten = (judge(80.0, None, n, OURS, unit=1.0, tolerance=9.0).half for n in (1, 10))
    assert ten == pytest.approx(T2 * math.sqrt(1 / 10 + 1 / 3) + 0.5, rel=1e-6)
    assert ten < one


@pytest.mark.parametrize(("sd", "n", "ours"), [(2.0, 10, [49, 49, 50, 51, 51]), (0.09, 10, [97.9, 98.0, 98.3])])
def test_h_is_where_welch_s_test_turns(sd: float, n: int, ours: list[float]) -> None:
    found = judge(50.0, sd, n, ours, unit=0.0, tolerance=9.0)
    m, s = stats.tmean(ours), stats.tstd(ours)
    p = stats.ttest_ind_from_stats(m, s, len(ours), m + found.half, sd, n, equal_var=False).pvalue
    assert p == pytest.approx(0.05, rel=1e-6)
    assert not found.borrowed


def test_a_too_wide_interval_says_how_many_seeds_would_do() -> None:
    spread = [49.0, 50.0, 51.0]  # h = t · √(4 / 400 + 1 / n)
    found = judge(50.0, 2.0, 400, spread, unit=0.0, tolerance=1.0)
    assert (found.verdict, found.seeds) == ("interval too wide", 7)
    halves = {n: judge(50.0, 2.0, 400, _same_spread(n), unit=0.0, tolerance=1.0).half for n in (6, 7)}
    assert halves[7] <= 1.0 < halves[6]
    assert judge(50.0, 2.0, 400, spread, unit=0.0, tolerance=9.0).seeds is None, "it is not too wide"
    borrowed = judge(50.0, None, None, spread, unit=0.0, tolerance=1.0)
    assert (borrowed.verdict, borrowed.seeds) == ("interval too wide", None), "one printed run stays one run"
    assert not borrowed.hopeless, "no spread is printed"


def test_no_number_of_seeds_would_do_where_the_printed_spread_alone_is_wider() -> None:
    def found(sd: float, n: int | None, tolerance: float, spread: float = 1.0) -> tuple[int | None, bool]:
        ours = [50 - spread, 50.0, 50 + spread]
        judgement = judge(50.0, sd, n, ours, unit=0.0, tolerance=tolerance)
        assert judgement.verdict == "interval too wide"
        return judgement.seeds, judgement.hopeless

    alone = 2.0930241 * 2.0 / math.sqrt(20)  # t of 19 degrees of freedom: h if our mean were exact
    assert found(2.0, 20, 0.95 * alone) == (None, True)
    assert found(2.0, 20, 1.05 * alone, spread=9.0) == (None, False), "more than 100 seeds would do"
    assert found(2.0, 20, 1.5 * alone)[0] is not None
    assert found(2.0, None, 1.9 * 2.0) == (None, True), "without a printed number of runs"
    # h of two printed runs has its minimum where ours are about as uncertain: t of 4 degrees of freedom · √2.
    assert found(2**0.5, 2, 6.0, spread=40.0) == (None, False), "a finite number would do, and the limit would not"


def _same_spread(n: int) -> list[float]:
    """Numbers with mean 50 and deviation 1."""
    numbers = [float(i) for i in range(n)]
    return [50 + (each - stats.tmean(numbers)) / stats.tstd(numbers) for each in numbers]


def test_half_a_unit_of_the_last_digit_is_forgiven_and_no_more() -> None:
    same = [80.5, 80.5, 80.5]
    assert judge(80.0, 0.0, 3, same, unit=1.0, tolerance=1.0).verdict == "reproduced"
    assert judge(80.0, 0.0, 3, [80.51] * 3, unit=1.0, tolerance=1.0).verdict == "differs"
    assert judge(80.0, 0.0, 3, same, unit=0.1, tolerance=1.0).verdict == "differs"


def test_what_a_spread_is_is_told_apart() -> None:
    assert standard_deviation(0.21, "sd", None) == 0.21
    assert standard_deviation(0.21, "sem", 9) == pytest.approx(0.63)
    # Half of a 95 % interval of five runs: t with four degrees of freedom is 2.776445.
    assert standard_deviation(0.1, "ci95", 5) == pytest.approx(0.1 * math.sqrt(5) / 2.776445, rel=1e-6)


@pytest.mark.parametrize(
    ("against", "verdict"),
    [
        ([1.0, 2.0, 3.0], "supported"),  # 3, 3, 3 more
        ([3.0, 4.0, 5.0], "not shown"),  # 1, 1, 1 more: no more than what counts
        ([5.0, 6.0, 7.0], "contradicted"),
        ([1.0, 9.0, 3.0], "not shown"),  # 3, −4, 3
    ],
)
def test_a_claim_is_judged_by_the_whole_interval_of_its_pairs(against: list[float], verdict: str) -> None:
    of = [4.0, 5.0, 6.0]
    assert judge_claim(of, against, higher=True, effect=1.0, compare="difference").verdict == verdict
    # A claim of the opposite, seen from the other side, is the same claim.
    assert judge_claim(against, of, higher=False, effect=1.0, compare="difference").verdict == verdict


def test_the_interval_of_a_claim_is_that_of_the_paired_t_test() -> None:
    of, against = [1.0, 2.5, 3.0, 7.0, 5.0], [0.5, 2.0, 3.5, 5.0, 4.0]
    wanted = stats.ttest_rel(of, against).confidence_interval(0.95)
    found = judge_claim(of, against, higher=True, effect=0.0, compare="difference")
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    logs = stats.ttest_rel([math.log(a) for a in of], [math.log(a) for a in against]).confidence_interval(0.95)
    ratio = judge_claim(of, against, higher=True, effect=0.0, compare="ratio")
    assert (ratio.low, ratio.high) == pytest.approx((logs.low, logs.high))


def test_spreads_are_compared_by_the_f_interval() -> None:
    wide, narrow = [0.0, 10.0, 20.0, 30.0, 40.0], [1.0, 1.1, 1.2, 1.3, 1.4]
    found = judge_claim(wide, narrow, higher=True, effect=0.5, compare="spread")
    factor = stats.f.ppf(0.975, 4, 4)
    assert (found.low, found.high) == pytest.approx((0.5 * math.log(1e4 / factor), 0.5 * math.log(1e4 * factor)))
    assert found.verdict == "supported"
    assert judge_claim(narrow, wide, higher=True, effect=0.5, compare="spread").verdict == "contradicted"
    assert judge_claim(wide, wide, higher=True, effect=0.5, compare="spread").verdict == "not shown"
