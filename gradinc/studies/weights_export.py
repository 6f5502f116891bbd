"""A run's weights for people without gradinc: safetensors, the model as a program, its config and a model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gradinc.base.errors import UserError
from gradinc.base.files import storing, write_json, write_whole
from gradinc.base.text import count_text
from gradinc.records.summary import MEASURES, score_shown, score_text
from gradinc.runs.trained import FinishedRun

EXPORTED = ("model.safetensors", "model.pt2", "config.json", "README.md")
"""Files of an exported model: weights, program, config and record, and model card."""

_LOAD = """\
import torch
from safetensors.torch import load_file

model = torch.export.load("model.pt2").module()
model.load_state_dict(load_file("model.safetensors"))
x = torch.zeros({shape})  # raw values of two rows
{normalise}with torch.no_grad():
    print(model(x).argmax(1)){labels}
"""


def export_weights(run: FinishedRun, folder: Path, *, best: bool = False) -> list[Path]:
    """Write the weights of a run, with all that is needed to use them.

    Args:
        best: whether the weights are of the best validation instead of the last.

    Raises:
        UserError: safetensors is not installed, the folder has other files, or the model cannot be a program.
        StorageError: a file could not be written.
    """
    try:
        from safetensors.torch import save
    except ImportError:
        raise UserError(
            "--safetensors", "needs the package safetensors", "pip install 'gradinc[safetensors]'"
        ) from None
    if folder.exists() and any(path.name not in EXPORTED for path in folder.iterdir()):
        raise UserError(str(folder), "has other files", "Give an empty directory, or a new one")
    model = run.with_weights(best=best)
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # it is in PyTorch's manual
    weights = {name: value.detach().contiguous().clone() for name, value in model.state_dict().items()}
    program = _program(model, run)
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "model.safetensors", save(weights, {"format": "pt"}))
    with storing(folder / "model.pt2"):
        torch.export.save(program, folder / "model.pt2")
    record = {"config": run.config.document, "data": run.meta["data"], "result": run.result}
    write_json(folder / "config.json", json.loads(json.dumps(record, default=str)))
    write_whole(folder / "README.md", model_card(run, weights, best=best).encode())
    return [folder / name for name in EXPORTED]


def _program(model: nn.Module, run: FinishedRun) -> Any:
    rows = torch.zeros((2, *run.shape.inputs), dtype=_dtype(model))
    try:
        return torch.export.export(model, (rows,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    except Exception as error:  # of many types, for a model whose operations depend on its values
        what = f"cannot be written as a program ({type(error).__name__})"
        raise UserError(f"model={run.config.model.name}", what, "gradinc.load opens its weights") from error


def _dtype(model: nn.Module) -> torch.dtype:
    return next(model.parameters()).dtype


def model_card(run: FinishedRun, weights: dict[str, Any], *, best: bool) -> str:
    """Return the model card of a run, from its record."""
    config, data, result = run.config, run.meta["data"], run.result
    count = sum(value.numel() for value in weights.values())
    which = "of the best validation" if best else "that were measured after the last update"
    rows = ", ".join(f"{count_text(number)} {part}" for part, number in (data.get("rows") or {}).items())
    strategy = config.document["strategy"].get("name") or "+".join(config.strategy.methods) or "sgd"
    lines = [
        "---",
        "library_name: pytorch",
        "tags: [gradinc]",
        "---",
        "",
        f"# {run.path.resolve().name}",
        "",
        f"{config.model.name} with {count_text(count)} numbers, trained on {data['name']} with strategy {strategy};",
        f"the weights are those {which}. Written by gradinc {run.meta.get('gradinc', '')} from the record of the run.",
        "",
        "## Data",
        "",
        f"- set: {data['name']}, {rows} rows, digest `{data['digest']}`",
        f"- inputs: shape {data['shape']}, outputs: {data['outputs']}",
        *([f"- classes: {', '.join(map(str, data['classes']))}"] if isinstance(data.get("classes"), list) else []),
        *_protocol(run),
        "",
        "## Results",
        "",
        "| measure | value |",
        "|---|---|",
        *_results(result),
        "",
        "## Load",
        "",
        "With `pip install torch safetensors`, in this folder:",
        "",
        "```python",
        _loading(run, data).rstrip("\n"),
        "```",
        "",
        "`config.json` has the whole config and the results.",
    ]
    return "\n".join(lines) + "\n"


def _protocol(run: FinishedRun) -> list[str]:
    found = run.result.get("protocol")
    return [f"- stream: {run.config.stream.name}, protocol: {json.dumps(found)}"] if found else []


def _results(result: dict[str, Any]) -> list[str]:
    tasks = " of the last task" if "matrix" in result else ""
    rows = [
        (f"{part}, {said}{tasks if part == 'validation' else ''}", score_shown(result[part]))
        for part, said in _CONVENTION.items()
        if result.get(part)
    ]
    known = result.get("metrics") or {}
    rows += [
        (MEASURES.get(name, name), score_text(value, "accuracy")) for name, value in known.items() if name in MEASURES
    ]
    return [f"| {name} | {value} |" for name, value in rows]


_CONVENTION = {"test": "on the test rows, with the last weights", "validation": "on the validation rows"}


def _loading(run: FinishedRun, data: dict[str, Any]) -> str:
    shape, mean, std = list(run.shape.inputs), data.get("mean"), data.get("std")
    lines = []
    raw = data.get("raw")
    if mean is not None and std is not None:
        view = f".view(-1{', 1' * (len(shape) - 1)})"
        lines.append(f"mean, std = torch.tensor({mean}){view}, torch.tensor({std}){view}")
        lines.append(
            f"x = (x / {raw['scale']} - mean) / std" if raw else "x = (x - mean) / std  # x as shares of the scale"
        )
    labels = "" if isinstance(data.get("classes"), list) else "  # a regression: use model(x) itself"
    normalise = "".join(f"{line}\n" for line in lines)
    return _LOAD.format(shape=(2, *shape), normalise=normalise, labels=labels)
