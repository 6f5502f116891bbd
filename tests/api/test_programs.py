"""Programs with a network in a file of their own: edited, killed and started again."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.datasets import load_digits

import gradinc
from gradinc.api.fingerprint import fingerprint

NETWORK = """\
from torch import nn
import layers

SCALE = 2.0

def squash(x):
    return layers.activation(x) * SCALE

class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(64, 12), nn.Linear(12, 10)

    def forward(self, x):
        return self.two(squash(self.one(x.flatten(1))))
"""
LAYERS = "import torch\n\ndef activation(x):\n    return torch.relu(x)\n\ndef unused(x):\n    return x\n"
PROGRAM = """\
import sys
import numpy as np, torch, gradinc
from network import Mine

torch.manual_seed(0)
x = np.random.default_rng(0).random((200, 64), np.float32)
run = gradinc.train(
    {"progress": "quiet", "checkpoint.seconds": 0, "log.steps": 5, "data.batch_size": 8},
    model=Mine(), data=(x, np.arange(200) % 10),
    strategy=["accumulate", "clip"], budget={"steps": 40}, output=sys.argv[1],
)
"""
FILES = {"network.py": NETWORK, "layers.py": LAYERS, "program.py": PROGRAM}

EDITS = [
    ("network.py", "self.two(squash", "self.two(2 * squash", True),  # the class
    ("network.py", "SCALE = 2.0", "SCALE = 3.0", True),  # a number that it reaches
    ("layers.py", "torch.relu(x)", "torch.tanh(x)", True),  # a function of another module
    ("layers.py", "    return x\n", "    return -x\n", False),  # a function that it does not reach
    ("program.py", "import sys", "import sys  # a remark", False),  # the program that calls
]
"""A file, a text in it, another text, and whether the network is another one then."""


@pytest.fixture
def load(folder, monkeypatch):
    """Write the files of a program into a folder, some of them edited, and import its network."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def loaded(number: int | None):
        place = folder / str(number)
        place.mkdir(exist_ok=True)
        for name, text in FILES.items():
            file, old, new, _ = EDITS[number] if number is not None else ("", "", "", False)
            assert file != name or old in text
            (place / name).write_text(text.replace(old, new) if file == name else text)
        for name in ("network", "layers"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(place))
            return importlib.import_module("network").Mine

    return loaded


def test_an_edit_of_reached_code_is_another_digest(load):
    before = fingerprint(load(None)(), weights=False)
    assert fingerprint(load(None)(), weights=False) == before
    different = [fingerprint(load(number)(), weights=False) != before for number in range(len(EDITS))]
    assert different == [another for *_, another in EDITS]


def test_an_edit_of_reached_code_is_another_run(load):
    digits = load_digits()
    keys = {"progress": "quiet", "budget": {"steps": 2}, "data": (digits.images[:99], digits.target[:99])}
    paths = [gradinc.train(model=load(number), **keys).path for number in (None, 2, 3)]
    assert paths[0] != paths[1]
    assert paths[0] == paths[2]


def run(folder: Path, output: str, crash: str = "") -> int:
    """Run the program; return its exit code."""
    environment = {**os.environ, **({"GRADINC_CRASH": crash} if crash else {})}
    return subprocess.run([sys.executable, "program.py", output], cwd=folder, env=environment).returncode


def test_a_killed_run_resumes_to_the_same_bytes(folder):
    for name, text in FILES.items():
        (folder / name).write_text(text)
    assert run(folder, "killed", crash="pruned:9") != 0
    (killed,) = folder.glob("killed/*")
    assert not (killed / "result.json").exists()
    assert run(folder, "killed") == 0
    assert run(folder, "whole") == 0
    (whole,) = folder.glob("whole/*")
    assert whole.name == killed.name
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    first, second = (gradinc.load(path) for path in (killed, whole))
    assert first.result["weights_digest"] == second.result["weights_digest"]
    assert len(first.meta["segments"]) == 2
