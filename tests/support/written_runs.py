"""Run directories in the format that ``gradinc train`` writes, many and quickly."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import yaml

from gradinc.records.directory import SEALED
from gradinc.records.seal import seal

CONFIG: dict[str, Any] = {
    "seed": 0,
    "threads": "auto",
    "data": {"name": "digits", "batch_size": 32},
    "model": {"name": "mlp", "width": 64},
    "stream": {"name": "iid"},
    "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
    "strategy": {"window": {"size": 1, "rule": "mean"}, "methods": {}},
    "budget": {"epochs": 4},
    "log": {"steps": 50},
}

META: dict[str, Any] = {
    "gradinc": "0.1.0",
    "code": "c0de" * 16,
    "commit": "abcd" * 10,
    "data": {"name": "digits", "digest": "da7a" * 16, "rows": {"train": 1294}, "classes": ["0", "1"]},
    "segments": [{"from_step": 0, "torch": "2.13.0", "device": "cpu", "threads": 1, "command": "gradinc train"}],
}


def reseal(run: Path) -> None:
    """Take the run's files as they are now for those that it ended with."""
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(seal(result, run, SEALED)))


def write_run(
    folder: Path,
    name: str,
    *,
    test: float = 0.9,
    status: str = "finished",
    sealed: bool = False,
    result: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write one run; `changes` are dotted keys of the config, with ``__`` for the dot; `result` is added to it."""
    config, path = copy.deepcopy(CONFIG), folder / name
    for key, value in changes.items():
        *sections, last = key.split("__")
        node = config
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = value
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (path / "meta.json").write_text(json.dumps(META))
    lines, times = [], []
    noise = random.Random(name)
    for epoch in range(1, 5):
        where = {"step": 41 * epoch, "task": 0, "epoch": epoch, "samples": 1294 * epoch}
        where |= {"rows": 1294 * epoch, "passes": 1294 * epoch / 32}
        loss = 1 / epoch + noise.random() / 10
        score = test - 0.2 / epoch + noise.random() / 100
        lines.append({**where, "lr": 0.1, "train": {"loss": loss}, "notes": {"gradient_norm": loss * 2}})
        lines.append({**where, "validation": {"loss": loss, "accuracy": score}})
        times.append({"step": 41 * epoch, "seconds": 0.1 * epoch, "samples_per_second": 1e4, "clock": 1.8e9 + epoch})
    measures = {"loss": 1 - test, "accuracy": test}
    if status == "finished":
        lines.append({**lines[-1], "test": measures})
        del lines[-1]["validation"]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (path / "timing.jsonl").write_text("".join(json.dumps(line) + "\n" for line in times))
    if status != "unfinished":
        own = {"status": status, "test": measures if status == "finished" else None, "validation": measures}
        counts = {"samples": 5176, "steps": 164, "seconds": 0.4, "peak_memory": 1e6}
        counts |= {"rows": 5176, "forward_rows": 5176, "backward_rows": 5176, "passes": 161.75}
        end = {"ended_by": "epochs", "diverged_at": 165, "tensor": "loss", "weights_digest": "d1"}
        (path / "result.json").write_text(json.dumps({**own, **counts, **end, **(result or {})}))
        if sealed:
            reseal(path)
    return path
