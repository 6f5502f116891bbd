"""Comparison of two runs, or two checkpoints, bit by bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradinc.records.schemas import read_result
from gradinc.records.seal import SEAL
from gradinc.runs import checkpoint

CLOCK = ("seconds", "peak_memory")
"""Keys of a run's time and memory."""

SHOWN = 5
"""Largest number of differences that are listed one by one."""


def state_differences(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return in words the parts of two checkpoints' states that are not equal bit by bit, apart from clocks."""
    before, after = (dict(_leaves({**state, "seconds": None})) for state in (was, now))
    return [
        f"{name}: {_compared(before.get(name), after.get(name))}"
        for name in [*before, *(name for name in after if name not in before)]
        if not _same(before.get(name), after.get(name)) and not _is_clock(name)
    ]


def run_differences(was: Path, now: Path) -> list[str]:
    """Return the differences between two finished runs in words, without times."""
    found = []
    results = [read_result(run / "result.json") or {} for run in (was, now)]
    for key in {**results[0], **results[1]}:
        if key not in (*CLOCK, SEAL) and results[0].get(key) != results[1].get(key):
            found.append(f"result.json: {key} was {results[0].get(key)}, now {results[1].get(key)}")
    if _content(was / "metrics.jsonl") != _content(now / "metrics.jsonl"):
        found.append(f"metrics.jsonl: {_first_line(was, now)}")
    states: list[dict[str, Any]] = []
    for run in (was, now):
        states += [state for _, state in checkpoint.newest(run / "ckpt", None) if isinstance(state, dict)][:1]
    return [*found, *(state_differences(*states) if len(states) == 2 else ["a run has no checkpoint that is whole"])]


def _leaves(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key in sorted(node, key=str):
            yield from _leaves(node[key], f"{where}.{key}" if where else str(key))
    elif isinstance(node, list | tuple) and node:
        for index, item in enumerate(node):
            yield from _leaves(item, f"{where}.{index}")
    else:
        yield where, node


def _is_clock(name: str) -> bool:
    return name in ("seconds", "position.began.2")


def _same(was: Any, now: Any) -> bool:
    return type(was) is type(now) and _bits(was) == _bits(now)


def _bits(value: Any) -> bytes:
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous().reshape(-1)
        return f"{value.dtype} {tuple(value.shape)}".encode() + plain.view(torch.uint8).numpy().tobytes()
    return repr(value).encode()


def _compared(was: Any, now: Any) -> str:
    if isinstance(was, Tensor) and isinstance(now, Tensor) and was.shape == now.shape and was.numel():
        apart = (was.double() - now.double()).abs()
        return f"{int((was != now).sum())} of {was.numel()} values differ, by {float(apart.max()):.3g} at most"
    shown = [f"{tuple(value.shape)} values" if isinstance(value, Tensor) else str(value)[:40] for value in (was, now)]
    return f"was {shown[0]}, now {shown[1]}"


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _first_line(was: Path, now: Path) -> str:
    before, after = (_content(run / "metrics.jsonl").split(b"\n") for run in (was, now))
    for number, (old, new) in enumerate(zip(before, after, strict=False), start=1):
        if old != new:
            return f"line {number} is another one"
    return f"was {len(before) - 1} lines, now {len(after) - 1}"
