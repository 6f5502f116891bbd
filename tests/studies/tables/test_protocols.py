"""What the programs behind published tables did, in their own numbers, is what the tables' rows run.

The numbers are those of the sources' files, typed from there; a strength is twice theirs where their penalty has no
half and ours has one.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest

from gradinc.config.schema import Config
from gradinc.studies.tables.cells import compose_cells, open_table

ALL = None  # rows

# aimagelab/mammoth@7ab9db9, utils/best_args.py, lines in the tables' files
DER: dict[str, dict[str, Any]] = {
    "der_permuted": {
        "oewc": {"lr": 0.1, "e_lambda": 0.7, "batch_size": 128},
        "si": {"lr": 0.1, "c": 0.5, "xi": 1.0, "batch_size": 128},
        "fdr": {200: 0.1, 500: 0.1, 5120: 0.1},
        "gss": {200: (0.2, 10, 128), 500: (0.1, 128, 10), 5120: (0.03, 128, 10)},
    },
    "der_rotated": {
        "oewc": {"lr": 0.1, "e_lambda": 0.7, "batch_size": 128},
        "si": {"lr": 0.1, "c": 1.0, "xi": 1.0, "batch_size": 128},
        "fdr": {200: 0.2, 500: 0.2, 5120: 0.2},
        "gss": {200: (0.2, 10, 128), 500: (0.2, 128, 128), 5120: (0.2, 128, 128)},
    },
    "der_split": {
        "oewc": {"lr": 0.03, "e_lambda": 90, "batch_size": 10},
        "si": {"lr": 0.1, "c": 1.0, "xi": 0.9, "batch_size": 10},
        "fdr": {200: 0.03, 500: 0.1, 5120: 0.1},
        "gss": {200: (0.1, 10, 10), 500: (0.1, 10, 10), 5120: (0.1, 128, 10)},
    },
}


@cache
def composed(table: str, row: str, column: str) -> Config:
    """What the first run of a cell is made of."""
    found = open_table(table)
    (cell,) = [cell for cell in compose_cells(found, [row], [0]) if cell.column == column]
    return cell.jobs[0].config


def methods(table: str, row: str, column: str) -> dict[str, Any]:
    given: dict[str, Any] = composed(table, row, column).document["strategy"]["methods"]
    return given


def optimizer(table: str, row: str, column: str) -> dict[str, Any]:
    given = composed(table, row, column).document
    keys = ("name", "lr", "momentum", "weight_decay")
    return {"batch_size": given["data"]["batch_size"], **{key: given["optimizer"].get(key) for key in keys}}


def sgd(lr: float, batch_size: int, weight_decay: float = 0.0) -> dict[str, Any]:
    return {"batch_size": batch_size, "name": "sgd", "lr": lr, "momentum": 0.0, "weight_decay": weight_decay}


def judged(table: str, row: str) -> bool:
    return open_table(table).rows[row].not_judged is None


@pytest.mark.parametrize("table", DER)
def test_ders_penalties_are_those_of_its_program(table: str) -> None:
    column, theirs = ("class" if table == "der_split" else "acc"), DER[table]
    oewc, si = theirs["oewc"], theirs["si"]
    found = methods(table, "oewc", column)
    wanted = {"strength": 2 * oewc["e_lambda"], "mode": "online", "gamma": 1.0, "fisher": "weighted", "rows": ALL}
    assert {key: found["ewc"][key] for key in wanted} == wanted
    assert optimizer(table, "oewc", column) == sgd(oewc["lr"], oewc["batch_size"])
    found = methods(table, "si", column)
    assert list(found) == ["si", "clip"], "the penalised gradient is clipped"
    assert found["clip"] == {"norm": math.inf, "value": 1.0}
    wanted = {"strength": si["c"], "damping": si["xi"], "path": "applied"}
    assert {key: found["si"][key] for key in wanted} == wanted
    assert optimizer(table, "si", column) == sgd(si["lr"], si["batch_size"])
    assert judged(table, "oewc")
    assert judged(table, "si")


@pytest.mark.parametrize("size", [200, 500, 5120])
@pytest.mark.parametrize("table", DER)
def test_ders_rows_of_fdr_and_gss_have_the_parameters_of_its_program(table: str, size: int) -> None:
    column = "class" if table == "der_split" else "acc"
    lr = DER[table]["fdr"][size]
    assert methods(table, f"fdr_{size}", column) == {"fdr_ahead": {"memory": size, "replay": 128, "alpha": 1.0}}
    assert optimizer(table, f"fdr_{size}", column) == sgd(lr, 128)
    lr, replay, compare = DER[table]["gss"][size]
    found = methods(table, f"gss_{size}", column)
    assert found == {"gss": {"memory": size, "replay": replay, "compare": compare, "screen": "batch"}}
    assert optimizer(table, f"gss_{size}", column) == sgd(lr, 128)
    assert judged(table, f"fdr_{size}")
    assert judged(table, f"gss_{size}")


@pytest.mark.parametrize("table", ["der_split", "der_permuted", "der_rotated"])
def test_joint_of_der_has_the_options_of_sgd(table: str) -> None:
    column = "class" if table == "der_split" else "acc"
    assert optimizer(table, "joint", column) == optimizer(table, "sgd", column)
    assert judged(table, "joint")


def test_lwf_of_der_has_no_teacher_and_decays_weights_by_twice_its_coefficient() -> None:
    assert optimizer("der_split", "lwf", "class") == sgd(0.03, 10, weight_decay=2 * 0.0005)
    assert methods("der_split", "lwf", "class") == methods("der_split", "sgd", "class") == {}
    assert composed("der_split", "lwf", "class").stream == composed("der_split", "sgd", "class").stream
    assert judged("der_split", "lwf")


@pytest.mark.parametrize(
    ("column", "si", "mas"), [("task", 300.0, 1.0), ("domain", 3000.0, 10000.0), ("class", 600.0, 1.0)]
)
def test_hsus_si_and_mas_are_those_of_agents_regularization(column: str, si: float, mas: float) -> None:
    wanted = {"strength": si, "damping": 0.1, "bound": "none", "path": "loss"}
    assert methods("hsu_split", "si", column) == {"si": wanted}
    wanted = {"strength": mas, "rows": ALL, "batch": 128, "outputs": "mean", "gamma": 1.0}
    assert methods("hsu_split", "mas", column) == {"mas": wanted}
    for row in ("si", "mas"):
        document = composed("hsu_split", row, column).document
        assert (document["optimizer"]["name"], document["optimizer"]["lr"]) == ("adam", 0.001)
        assert (document["data"]["batch_size"], document["budget"]["epochs"]) == (128, 4)
        assert judged("hsu_split", row)


@pytest.mark.parametrize(("column", "epochs"), [("acc_1", 1), ("bwt_2", 2), ("acc_5", 5)])
def test_gems_ewc_squares_the_gradient_of_a_thousand_rows_and_has_no_half(column: str, epochs: int) -> None:
    found = methods("gem_rotations", "ewc", column)["ewc"]
    wanted = {"strength": 2 * 1000, "mode": "separate", "fisher": "batch", "rows": 1000, "batch": 1000}
    assert {key: found[key] for key in wanted} == wanted
    assert optimizer("gem_rotations", "ewc", column) == sgd(0.01, 10)
    config = composed("gem_rotations", "ewc", column)
    assert (config.budget.epochs, config.stream.samples_per_task) == (epochs, 1000)


def test_agems_penalties_are_those_of_model_py() -> None:
    table = "agem_permuted"
    rows = {
        "ewc": (0.03, {"ewcpp": {"strength": 10.0, "alpha": 0.9, "every": 10}}),
        "si": (0.1, {"si": {"strength": 0.1, "damping": 1e-3, "bound": "task", "path": "loss"}}),
        "mas": (0.1, {"mas": {"strength": 0.1, "rows": ALL, "batch": 10, "outputs": "sum", "gamma": 0.0}}),
        "rwalk": (
            0.1,
            {
                "rwalk": {
                    "strength": 1.0,
                    "alpha": 0.9,
                    "every": 10,
                    "eps": 1e-3 / 2,
                    "fisher_every": 10,
                    "past": 1.5,
                    "squares": "task",
                }
            },
        ),
    }
    for row, (lr, wanted) in rows.items():
        assert methods(table, row, "acc") == wanted
        assert optimizer(table, row, "acc") == sgd(lr, 10)
        model = composed(table, row, "acc").document["model"]
        assert (model["init"], model["bias_init"], model["width"], model["depth"]) == (0.1, 0.1, 256, 2)
    assert all(judged(table, row) for row in rows)


def test_gpm_trains_every_row_for_five_epochs_but_the_one_that_says_otherwise() -> None:
    table = open_table("gpm_permuted")
    epochs = {
        cell.row: cell.jobs[0].config.budget.epochs for cell in compose_cells(table, list(table.rows), [0]) if cell.jobs
    }
    assert epochs.pop("gpm_one") == 1
    assert set(epochs.values()) == {5}
    assert methods("gpm_permuted", "gpm", "acc") == {
        "gpm": {"threshold": [0.95, 0.99, 0.99], "increase": 0.0, "rows": 300}
    }
    assert optimizer("gpm_permuted", "gpm", "acc") == sgd(0.01, 10)
    assert composed("gpm_permuted", "gpm", "acc").document["model"]["bias"] is False
    assert "3 runs" in str(table.citation)
    assert {row.published["acc"].n for row in (table.rows["gpm"], table.rows["gpm_one"])} == {3}


@pytest.mark.parametrize(("size", "lr"), [(200, 0.1), (500, 0.1), (5120, 0.03)])
def test_ders_row_of_mer_is_replay_with_batches_of_one(size: int, lr: float) -> None:
    # best_args.py:323-346: batch_size 1, minibatch_size 128, batch_num 1, beta = gamma = 1
    found = methods("der_split", f"mer_{size}", "class")
    other = {"among": "all", "kind": "reservoir", "loss": "pooled"}
    assert found == {"er": {"memory": size, "replay": 128, **other}}
    assert optimizer("der_split", f"mer_{size}", "class") == sgd(lr, 1)
    assert judged("der_split", f"mer_{size}")
