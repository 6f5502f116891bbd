"""Metrics of the accuracy matrix, by numbers worked by hand."""

from __future__ import annotations

import pytest

from gradinc.records.metrics import METRICS, TOGETHER, measured_metrics

WORKED = [[0.1, 0.1, 0.1], [0.9, 0.1, 0.1], [0.95, 0.8, 0.2], [0.6, 0.7, 0.9]]


def test_the_worked_example() -> None:
    values, reasons = measured_metrics(WORKED)
    wanted = {"acc": 0.7333, "bwt": -0.2, "forgetting": 0.225, "fwt": 0.05, "aia": 0.8361, "la": 0.8667}
    assert {name: round(value, 4) for name, value in values.items() if value is not None} == wanted
    assert reasons == {}


def test_backward_transfer_counts_all_tasks_but_the_last_and_forgetting_is_from_the_best() -> None:
    """The mistakes of other programs: dividing by T, leaving out a task, taking −BWT for forgetting."""
    matrix = [[0.0] * 4, [0.8, 0, 0, 0], [0.9, 0.8, 0, 0], [0.5, 0.9, 0.8, 0], [0.4, 0.6, 0.7, 0.8]]
    values, _ = measured_metrics(matrix)
    assert values["bwt"] == pytest.approx(((0.4 - 0.8) + (0.6 - 0.8) + (0.7 - 0.8)) / 3)
    assert values["forgetting"] == pytest.approx(((0.9 - 0.4) + (0.9 - 0.6) + (0.8 - 0.7)) / 3)


def test_forgetting_is_negative_where_a_task_only_improves() -> None:
    values, _ = measured_metrics([[0, 0], [0.5, 0], [0.7, 0.9]])
    assert values["forgetting"] == pytest.approx(-0.2)


def test_what_was_not_measured_counts_only_where_it_is_needed() -> None:
    values, reasons = measured_metrics([[0.1, 0.1, 0.1], [0.9, 0.1, None], [0.95, 0.8, 0.2], [0.6, 0.7, 0.9]])
    assert reasons == {}
    assert values["fwt"] == pytest.approx(0.05)
    values, reasons = measured_metrics([[0.1, 0.1], [0.9, None], [0.6, 0.7]])
    assert values["fwt"] is None
    assert reasons == {"fwt": "not measured with evaluate.tasks=needed"}


def test_one_task_has_no_transfer_and_says_why() -> None:
    values, reasons = measured_metrics([[0.1], [0.9]])
    assert (values["acc"], values["aia"], values["la"]) == (0.9, 0.9, 0.9)
    assert set(reasons) == {"bwt", "forgetting", "fwt"}
    assert set(reasons.values()) == {"there is one task only"}


def test_joint_training_has_an_accuracy_and_no_order() -> None:
    values, reasons = measured_metrics([[0.1, 0.1, 0.2], [0.8, 0.9, 1.0]])
    assert values["acc"] == pytest.approx(0.9)
    assert set(reasons) == set(METRICS) - {"acc"}
    assert set(reasons.values()) == {TOGETHER}


def test_before_any_task_is_done_nothing_is_defined() -> None:
    values, reasons = measured_metrics([[0.1, 0.1]])
    assert set(values.values()) == {None}
    assert set(reasons) == set(METRICS)


def test_scored_tasks_are_a_stream_of_their_own() -> None:
    matrix = [
        [0.1] * 4,
        [0.9, 0.2, 0.2, 0.2],
        *[[0.5, *row] for row in ([0.9, 0.1, 0.1], [0.95, 0.8, 0.2], [0.6, 0.7, 0.9])],
    ]
    values, _ = measured_metrics(matrix, range(1, 4))
    assert values["acc"] == pytest.approx(0.7333, abs=1e-4)
    assert values["fwt"] == pytest.approx(((0.1 - 0.2) + (0.2 - 0.2)) / 2)
