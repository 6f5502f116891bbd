"""Means, deviations and intervals of settings, and paired differences, against numbers computed by hand."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest

from gradinc.records.statistics import estimate

T2, T1 = 4.302652729911275, 12.706204736432095
"""Student's t for 95 %, two-sided, with two degrees of freedom and with one."""


def stream(written: Any, strategy: str, seed: int, acc: float, **changes: Any) -> None:
    metrics = {"acc": acc, "bwt": acc - 0.9, "forgetting": 0.8 - acc}
    changes = {"strategy__methods": {strategy: {}}, "seed": seed, "sealed": True, **changes}
    result = {"metrics": metrics, "task_metrics": {"acc": 0.99}, "matrix": [[0.5, 0.5], [acc, 0.25], [acc, 0.125]]}
    written(f"{strategy}-s{seed}-{seed}{abs(hash(strategy)) % 10**6:06d}", result=result, test=acc, **changes)


@pytest.fixture
def nine(written: Any) -> None:
    for seed, (er, ewc) in enumerate([(0.70, 0.60), (0.72, 0.61), (0.77, 0.68)]):
        stream(written, "er", seed, er)
        stream(written, "ewc", seed, ewc)


def test_a_setting_has_the_mean_the_deviation_and_students_interval(gradinc: Any, nine: Any) -> None:
    document = json.loads(gradinc("compare", "outputs", "--json").out)
    er = document["settings"][0]
    assert (er["setting"], er["n"], er["values"]) == ("er", 3, {"strategy": "er"})
    mean, sd = 0.73, math.sqrt((0.03**2 + 0.01**2 + 0.04**2) / 2)
    half = T2 * sd / math.sqrt(3)
    expected = {"mean": mean, "sd": sd, "low": mean - half, "high": mean + half, "n": 3}
    assert er["metrics"]["acc"] == pytest.approx(expected)


def test_differences_are_paired_by_seed(gradinc: Any, nine: Any) -> None:
    document = json.loads(gradinc("compare", "outputs", "--metrics", "acc", "--json").out)
    assert document["against"] == "er"
    (found,) = document["differences"]
    mean, sd = -0.10, math.sqrt((0.0**2 + 0.01**2 + 0.01**2) / 2)
    half = T2 * sd / math.sqrt(3)
    assert found["pairs"] == 3
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((mean, mean - half, mean + half))
    # Unpaired, the interval of the difference would be much wider: the seeds have a common part.
    wide = document["settings"][0]["metrics"]["acc"]
    assert wide["high"] - wide["low"] > 2 * (found["high"] - found["low"])
    other = json.loads(gradinc("compare", "outputs", "--metrics", "acc", "--against", "ewc", "--json").out)
    assert other["differences"][0]["mean"] == pytest.approx(0.10)


def test_only_common_seeds_are_paired_and_one_pair_has_no_interval(gradinc: Any, written: Any) -> None:
    for strategy, seeds in {"er": (0, 1, 2), "ewc": (2, 3)}.items():
        for seed in seeds:
            stream(written, strategy, seed, 0.5 + seed / 100)
    (found,) = json.loads(gradinc("compare", "outputs", "--metrics", "acc", "--json").out)["differences"]
    assert (found["pairs"], found["low"], found["mean"]) == (1, None, pytest.approx(0.0))


def test_no_interval_of_a_share_leaves_0_to_100_percent() -> None:
    values = [0.99, 0.9]
    free, cut = estimate(values), estimate(values, (0.0, 1.0))
    assert free is not None
    assert cut is not None
    assert free.interval is not None
    assert free.interval[1] > 1
    assert cut.interval == (pytest.approx(0.945 - T1 * 0.045), 1.0)
    assert cut.half == free.half  # the width itself is Student's


def test_any_number_of_a_run_is_a_metric(gradinc: Any, nine: Any) -> None:
    names = ["acc", "task_metrics.acc", "matrix.2.1", "train.loss", "seconds", "test.loss"]
    text = gradinc("runs", "--by", "run", "--sort", "run", "--metrics", ",".join(names), "--csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 6
    assert [float(rows[0][name]) for name in names[:3]] == pytest.approx([0.70, 0.99, 0.125])
    assert float(rows[0]["seconds"]) == 0.4
    assert 0 < float(rows[0]["train.loss"]) < 1
    wrong = gradinc("runs", "--metrics", "forgeting")
    assert (wrong.code, wrong.err) == (2, "forgeting: no run has this number. Did you mean forgetting?\n")


def test_conditions_and_order_use_results_and_what_was_typed(gradinc: Any, written: Any, nine: Any) -> None:
    for seed in (0, 1):
        stream(written, "finetune", seed, 0.2, strategy__methods={}, strategy__name="finetune")
        written(f"old-s{seed}-{seed}0000000", seed=seed, test=0.2, sealed=True)  # a name of an older version
    listed = json.loads(gradinc("runs", "strategy=finetune", "--json").out)
    assert len(listed) == 4
    assert {run["strategy"] for run in gradinc_records(gradinc, "runs", "strategy=finetune", "--csv")} == {"finetune"}
    assert len(json.loads(gradinc("runs", "acc>=0.7", "--json").out)) == 3
    assert json.loads(gradinc("runs", "--sort", "bwt", "--json").out)[0]["run"].startswith("finetune")
    names = [record["setting"] for record in gradinc_records(gradinc, "runs", "acc>0.1", "--by", "setting", "--csv")]
    assert names == ["er", "ewc", "finetune"]


def gradinc_records(gradinc: Any, *words: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(gradinc(*words).out)))


def test_a_run_is_found_by_another_name_of_the_same_content_and_by_a_shortened_name(gradinc: Any, written: Any) -> None:
    written("digits-mlp-finetune-s0-0123abcd", sealed=True)
    written("digits-mlp-er-s0-89abcdef", sealed=True)
    pairs = (["digits-mlp-sgd-s0-0123abcd", "89ab"], ["digits-m…-s0-0123abcd", "outputs/x-s0-89abcdef"])
    for names in pairs:
        outcome = gradinc("compare", *names, "--json")
        assert [run["run"] for run in json.loads(outcome.out)] == [
            "digits-mlp-finetune-s0-0123abcd",
            "digits-mlp-er-s0-89abcdef",
        ]
    assert gradinc("compare", "digits-mlp-sgd-s1-0123abcd", "89ab").code == 2  # another seed is another run
