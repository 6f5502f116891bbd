"""A package of somebody else's, with a part of every kind: what its installation leaves on the path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lives import End, Life, Nursery

SOURCES = {
    "model/net": """
from torch import nn
from gradinc.config.values import Count
from mylab.shared import activation

def net(shape: tuple[int, ...], outputs: int, *, width: Count = 8) -> nn.Module:
    \"\"\"A small network\"\"\"
    inputs = 1
    for size in shape:
        inputs *= size
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), activation(), nn.Linear(width, outputs))
""",
    "data/dots": """
import numpy as np
from gradinc.config.values import Count
from gradinc.data.source import Source

def dots(root: str | None, *, rows: Count = 120) -> Source:
    \"\"\"Three clouds of points\"\"\"
    random = np.random.default_rng(0)
    y = np.arange(rows) % 3
    x = (random.normal(size=(rows, 4)) + 3 * np.eye(4)[y]).astype(np.float32)
    return Source(x, y.astype(np.int64), ("a", "b", "c"), None, 1.0, "made")
""",
    "stream/turned": """
from gradinc.config.values import Count
from gradinc.data.experience import Experience, Material

def turned(material: Material, *, tasks: Count = 2) -> list[Experience]:
    \"\"\"The same classes, and every other task mirrored\"\"\"
    return [
        Experience(material.dataset, material.classes, change=(lambda x: -x) if task % 2 else None)
        for task in range(tasks)
    ]
""",
    "method/halve": """
from gradinc.config.values import Positive
from gradinc.core.method import Method

class Halve(Method):
    \"\"\"Take a share of the gradient\"\"\"

    def __init__(self, *, share: Positive = 0.5) -> None:
        self.share = share

    def transform(self, g, learner) -> None:
        g.mul_(self.share)
""",
    "rule/doubled": """
from gradinc.config.values import Positive
from gradinc.core.rule import Rule

class Doubled(Rule):
    \"\"\"A multiple of the mean\"\"\"

    def __init__(self, *, times: Positive = 2.0) -> None:
        self.times = times

    def factor(self, items: float, planned: float) -> float:
        return self.times / planned

    def reduce(self, grad, items: float, planned: float) -> bool:
        if items != planned:
            grad.mul_(planned / items)
        return True
""",
    "due/growing": """
from gradinc.config.values import Count
from gradinc.core.due import Due

class Growing(Due):
    \"\"\"A longer window after some updates\"\"\"

    def __init__(self, *, after: Count = 2) -> None:
        self.after = after

    def size(self, update: int, window_size: int, batch_size: int) -> int:
        return window_size + (update >= self.after)
""",
    "optimizer/plain": """
import torch
from gradinc.config.values import Positive

def plain(weights, *, lr: Positive) -> torch.optim.Optimizer:
    \"\"\"Gradient descent\"\"\"
    return torch.optim.SGD(weights.leaves.slices()[None], lr=lr, foreach=False)
""",
    "schedule/halving": """
from gradinc.config.values import Count

def halving(update: int, updates: int | None, *, every: Count = 3) -> float:
    \"\"\"Half the rate, again and again\"\"\"
    return 0.5 ** (update // every)
""",
    "cluster/inline": """
from gradinc.config.values import Count
from gradinc.studies.sweep.process import Worker

class Inline:
    \"\"\"One worker, one job after another\"\"\"

    def __init__(self, *, patience: Count = 1) -> None:
        self.worker = Worker()

    def run(self, shipments, watch, stop) -> None:
        for shipment in shipments:
            ending = self.worker.run(
                shipment, lambda said: watch.told(shipment.number, said), lambda: stop.signum
            )
            watch.ended(shipment.number, ending)
        self.worker.close()
""",
}
"""The source of each part, by its kind and name."""

SHARED = "from torch import nn\n\n\ndef activation() -> nn.Module:\n    return nn.ReLU()\n"

GROUPS = {
    "model": "models",
    "data": "data",
    "stream": "streams",
    "method": "methods",
    "rule": "rules",
    "due": "dues",
    "optimizer": "optimizers",
    "schedule": "schedules",
    "cluster": "clusters",
}

FILES = {
    "model/net": "name: net\nwidth: 8\n",
    "data/dots": "name: dots\n",
    "stream/turned": "name: turned\ntasks: 2\n",
    "strategy/halve": "methods:\n  halve:\n    share: 0.5\n",
    "strategy/doubled": "window:\n  size: 2\n  rule: doubled\n",
    "strategy/growing": "window:\n  due: growing\n",
    "optimizer/plain": "name: plain\nlr: 0.05\n",
    "schedule/halving": "name: halving\nevery: 3\n",
    "cluster/inline": "name: inline\n",
}
"""The YAML of each, by group and name."""

SMALL = ("data=digits", "model=linear", "budget.steps=6", "threads=1", "evaluate.epochs=100")


ROOMS = {**GROUPS, "data": "data/sets", "stream": "data/streams"}
"""The folder of each kind in a folder that is laid out like gradinc."""


@dataclass(frozen=True)
class Lab:
    """Parts in a package that is installed, or in a folder that is given with --with; and commands run beside it."""

    folder: Path
    nursery: Nursery
    is_installed: bool = True

    @property
    def package(self) -> Path:
        return self.folder / "site" / "mylab" if self.is_installed else self.folder / "mylab"

    @property
    def options(self) -> tuple[str, ...]:
        """What every command must be given."""
        return () if self.is_installed else ("--with", "mylab")

    def build(self) -> None:
        """Write the parts and their YAML."""
        for key, source in SOURCES.items():
            kind, name = key.split("/")
            module = self.package / (GROUPS if self.is_installed else ROOMS)[kind] / f"{name}.py"
            module.parent.mkdir(parents=True)
            module.write_text(source)
        (self.package / "shared.py").write_text(SHARED)
        for name, text in FILES.items():
            path = (self.folder if self.is_installed else self.package) / "conf" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if self.is_installed:
            self._register()

    def _register(self) -> None:
        (self.package / "__init__.py").write_text("")
        metadata = self.folder / "site" / "mylab-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mylab\nVersion: 1.0\n")
        points = []
        for key in SOURCES:
            kind, name = key.split("/")
            points.append(f"[gradinc.{GROUPS[kind]}]\n{name} = mylab.{GROUPS[kind]}.{name}\n")
        (metadata / "entry_points.txt").write_text("\n".join(points))

    def start(self, command: str, *words: str) -> Life:
        """Start a command in a process that sees an installed package."""
        site = self.folder / "site"
        return self.nursery.start(self.folder, *words, *self.options, command=command, packages=site)

    def gradinc(self, command: str, *words: str) -> End:
        """Run a command to its end."""
        return self.start(command, *words).end()

    def train(self, *words: str) -> End:
        return self.gradinc("train", *self.config_dir, *SMALL, *words)

    @property
    def config_dir(self) -> tuple[str, ...]:
        return ("--config-dir", "conf") if self.is_installed else ()

    def edit(self, name: str, before: str, after: str) -> None:
        path = self.package / name
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))
        stat = path.stat()  # bytecode is taken for that of a source of the same size and second
        os.utime(path, (stat.st_atime, stat.st_mtime + 2))
