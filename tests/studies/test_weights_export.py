"""The weights of a run, loaded in a process that cannot import gradinc by the lines of its model card."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradinc.runs.trained import FinishedRun

WITHOUT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "gradinc":
            raise ImportError("gradinc is not here")
sys.meta_path.insert(0, Blocker())
"""


SETTINGS = {
    "mlp": ("model=mlp", "budget.steps=20", "budget.epochs=null"),
    "cnn, of which averaged weights are measured": (
        *("model=cnn", "stream=split", "stream.tasks=5", "budget.epochs=1"),
        *("strategy=cls_er", "strategy.methods.cls_er.stable_alpha=0.9"),
    ),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_lines_of_the_card_give_the_accuracies_of_the_record(gradinc: Any, empty: Path, setting: str) -> None:
    assert gradinc("train", *SETTINGS[setting], "threads=1", "name=small").code == 0
    outcome = gradinc("export", "outputs/small", "--safetensors", "out")
    assert (outcome.code, outcome.err) == (0, "")
    card = Path("out/README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert block is not None
    assert block[1].count("\n") <= 10
    run = FinishedRun.open(Path("outputs/small"))
    data, chunks = run.meta["data"], list(run.dataset().test.chunks(1000))
    x, y = (torch.cat(each) for each in zip(*chunks, strict=True))
    rows = ((x * data["std"][0] + data["mean"][0]) * data["raw"]["scale"]).round()
    np.save("out/rows.npy", rows.numpy())
    lines = re.sub(
        r"x = torch\.zeros\(.*?\)  # .*\n", 'x = torch.tensor(__import__("numpy").load("rows.npy"))\n', block[1]
    ).replace("print(model(x).argmax(1))", "print(model(x).argmax(1).tolist())")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", WITHOUT + lines]
    done = subprocess.run(command, cwd="out", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    right = torch.tensor(json.loads(done.stdout)) == y
    tasks = run.result["matrix"][-1] if "matrix" in run.result else [run.result["test"]["accuracy"]]
    each = [y * len(tasks) // data["outputs"] == task for task in range(len(tasks))]
    assert [float(right[rows].float().mean()) for rows in each] == pytest.approx(tasks)
    blocked = subprocess.run([sys.executable, "-c", WITHOUT + "import gradinc"], capture_output=True, check=False)
    assert blocked.returncode == 1, "the process of the test could have imported gradinc"
    document = json.loads(Path("out/config.json").read_text(encoding="utf-8"))
    assert document["config"]["model"]["name"] == setting[:3]
    assert document["data"]["digest"] in card
    assert f"{100 * document['result']['test']['accuracy']:.2f} %" in card


def test_bad_input_is_one_line_and_nothing_is_written(gradinc: Any, written: Any, empty: Path) -> None:
    written("a")
    written("b")
    (empty / "mine").mkdir()
    (empty / "mine" / "notes.txt").write_text("mine")
    several = gradinc("export", "a", "b", "--safetensors", "out")
    assert (several.code, several.err.count("\n")) == (2, 1)
    assert not Path("out").exists()
    nothing = gradinc("export", "a")
    assert nothing.code == 2
    assert "needs --tensorboard DIR, --track NAME or --safetensors DIR" in nothing.err
