"""Plain fine-tuning and joint training of the same config: the lower and the upper bound of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gradinc.records.directory import RunDirectory
from gradinc.records.log import read_log
from gradinc.records.seal import check_seal
from gradinc.runs.display import Display


def compare_with_bounds(directory: RunDirectory, display: Display) -> None:
    """Show the accuracy of a run's bounds, if they have been run."""
    config = directory.config
    plain = replace(config.strategy, methods={})
    bounds = {
        "finetune": replace(config, name=None, strategy=plain, stream=replace(config.stream, data="current")),
        "joint": replace(config, name=None, strategy=plain, stream=replace(config.stream, data="joint")),
    }
    parts = []
    for name, bound in bounds.items():
        other = RunDirectory(bound)
        found = other.result() if other.path != directory.path else None
        if found is None or found["status"] != "finished" or check_seal(found, other.path):
            continue
        if (acc := found.get("metrics", {}).get("acc")) is None:
            continue
        parts.append(f"{name} {100 * acc:.2f} %")
        if name == "finetune" and config.strategy.methods:
            logs = (read_log(run.path / "metrics.jsonl") for run in (directory, other))
            if no_effect(*logs):
                methods = ", ".join(config.strategy.methods)
                display.warn(f"every training loss is exactly that of finetune: {methods} had no effect")
    if parts:
        display.say(f"ACC of the same config with {', with '.join(parts)}")


def no_effect(own: Sequence[Mapping[str, object]], plain: Sequence[Mapping[str, object]]) -> bool:
    """Return whether every training loss of a run equals plain fine-tuning's exactly.

    Args:
        own, plain: the lines of the two logs.
    """
    losses = [[line["train"] for line in log if "train" in line] for log in (own, plain)]
    return bool(losses[0]) and losses[0] == losses[1]
