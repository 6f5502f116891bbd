"""P10 and P17: what only watches a run, or runs beside it, leaves its numbers as they are, to the bit."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lives import PACKAGE, Nursery, only_run
from test_two_processes import pictures

from gradinc.records.schemas import read_result

RUN = (
    "model=cnn", "model.width=4", "model.depth=1", "model.hidden=8", "model.norm=batch", "model.dropout=0.2",
    "data.augment=[crop,flip]", "data.batch_size=50", "stream=split", "stream.tasks=2", "strategy=[accumulate,ewc]",
    "strategy.window.size=3", "strategy.window.last=carry", "budget.epochs=2", "progress=plain",
)  # fmt: skip
"""A run in which much is drawn at random."""

WATCHING = {
    "checkpoints at every micro-batch": ("checkpoint.seconds=0",),
    "checkpoints rarely, and one of them": ("checkpoint.seconds=1000", "checkpoint.keep=1"),
    "no evaluation in between": ("evaluate.epochs=1000",),
    "every task looked at": ("evaluate.tasks=all",),
    "only the needed tasks looked at": ("evaluate.tasks=needed",),
    "a log line for every update": ("log.steps=1",),
    "hardly a log line": ("log.steps=1000",),
    "norms and cosines": ("diagnostics=true",),
    "quiet": ("progress=quiet",),
    "another name": ("name=other",),
    "another place": ("output=elsewhere/deep",),
    "all at once": ("checkpoint.seconds=0", "evaluate.tasks=all", "log.steps=2", "diagnostics=true", "name=other"),
}
OTHER = {
    "another seed": ("seed=1",),
    "a step more": ("budget.epochs=null", "budget.steps=9"),
    "another order of tasks": ("stream.order=random",),
    "another window": ("strategy.window.size=2",),
}


def weights(folder: Path) -> str:
    """The digest of the weights that the one run under a folder ended with."""
    (path,) = folder.rglob("result.json")
    digest = (read_result(path) or {})["weights_digest"]
    assert isinstance(digest, str)
    return digest


@pytest.fixture(scope="module")
def plain(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("plain")
    assert nursery.run(folder, *RUN).code == 0
    return weights(folder)


@pytest.mark.parametrize("name", WATCHING)
def test_watching_changes_nothing(nursery: Nursery, folder: Path, plain: str, name: str) -> None:
    end = nursery.run(folder, *RUN, *WATCHING[name])
    assert (end.code, end.err) == (0, "")
    assert weights(folder) == plain


@pytest.mark.parametrize("name", OTHER)
def test_what_the_numbers_depend_on_changes_them(nursery: Nursery, folder: Path, plain: str, name: str) -> None:
    end = nursery.run(folder, *RUN, *OTHER[name])
    assert (end.code, end.err) == (0, "")
    assert weights(folder) != plain


def test_another_order_of_hashes_and_another_folder_change_nothing(tmp_path: Path, plain: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PYTHONHASHSEED": "4711", "LC_ALL": "C"}
    folder = tmp_path / "a folder with späces"
    folder.mkdir()
    subprocess.run([sys.executable, "-m", "gradinc", "train", *RUN], cwd=folder, env=environment, check=True)
    assert weights(folder) == plain


def test_workers_and_where_rows_are_kept_change_nothing(nursery: Nursery, folder: Path) -> None:
    pictures(folder / "pictures")
    words = ("data=image_folder", "data.root=pictures", "data.batch_size=4", "data.augment=[flip]", "model=linear")
    ways = (("data.memory=tensor",), ("data.memory=stream",), ("data.memory=stream", "data.workers=2"))
    found = set()
    for number, way in enumerate(ways):
        assert nursery.run(folder, *words, "budget.epochs=2", *way, f"output={number}").code == 0
        found.add(weights(folder / str(number)))
    assert len(found) == 1
    assert nursery.run(folder, *words, "budget.epochs=2", "seed=1", "output=other").code == 0
    assert weights(folder / "other") not in found


SWEEP = ("model=mlp", "model.width=8", "data.batch_size=100", "budget.epochs=2", "model.dropout=0.2", "progress=quiet")
SEEDS = ("0", "1", "2")
STRATEGIES = ("sgd", "grokfast", "noise")


def all_weights(folder: Path) -> dict[str, Any]:
    return {path.parent.name: (read_result(path) or {})["weights_digest"] for path in folder.rglob("result.json")}


def test_a_run_in_a_sweep_is_the_run_alone_in_any_order(nursery: Nursery, folder: Path) -> None:
    alone = {}
    for strategy in STRATEGIES:
        for seed in SEEDS:
            place = folder / "alone" / strategy / seed
            assert nursery.run(place, *SWEEP, f"strategy={strategy}", f"seed={seed}").code == 0
            alone[only_run(place).name] = weights(place)
    assert len(set(alone.values())) == 9
    for number in range(2):
        order = [list(SEEDS), list(STRATEGIES)]
        for names in order:
            random.Random(number).shuffle(names)
        words = (f"strategy={','.join(order[1])}", f"seed={','.join(order[0])}")
        words = words if number else words[::-1]
        assert nursery.run(folder / str(number), "-m", *SWEEP, *words).code == 0
        assert all_weights(folder / str(number)) == alone
        shutil.rmtree(folder / str(number))
