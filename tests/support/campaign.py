"""Random kills of every strategy, optimizer, schedule, model and stream that there is, as many as are asked for.

One line of JSON for each kill is added to a file of results, so that a campaign can be stopped and gone on with.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from configs import CONFIGS, WATCHED
from lives import Kill, Nursery, broken_invariants, differences, kill_at_progress, only_run, outcome

from gradinc.config import groups

SMALL = ("model=mlp", "model.width=12", "model.depth=1", "data.batch_size=40")
TASKS = ("stream.samples_per_task=200", "budget.epochs=2")
STREAMS = {
    "permuted": ("stream=permuted", "stream.tasks=2", *TASKS),
    "split": ("stream=split", "stream.tasks=3", *TASKS),
    "task": ("stream=split", "stream.tasks=2", "scenario=task", *TASKS),
}
SEQUENCES = ("cnn1d", "decoder", "gru")
"""Models whose rows are sequences."""

CODES = {-signal.SIGKILL, 128 + signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGUSR1}
GENTLE = 0.2
"""Share of signals that a run answers before it ends."""


def campaigns() -> dict[str, tuple[str, ...]]:
    """What is killed, by name: every file of a group at least once."""
    found = dict(CONFIGS)
    for index, name in enumerate(groups.names("strategy")):
        for kind, words in STREAMS.items():
            window = ("strategy.window.size=3", "strategy.window.last=carry") if index % 2 else ()
            found[f"{name} on {kind}"] = (*SMALL, f"strategy={name}", *words, *window)
    for name in groups.names("optimizer"):
        words = ("model.depth=2", f"optimizer={name}", "strategy=accumulate", "budget.epochs=1")
        found[f"optimizer {name}"] = (*SMALL, *words)
    for name in groups.names("schedule"):
        found[f"schedule {name}"] = (*SMALL, f"schedule={name}", *STREAMS["split"])
    for name in set(groups.names("model")) - {"module"}:  # a module is a Python program's
        tiny = ("model.width=4",) if name != "linear" else ()
        data = ("data=modular",) if name in SEQUENCES else ()
        found[f"model {name}"] = (f"model={name}", *data, *tiny, "data.batch_size=100", "budget.steps=12")
    for name in set(groups.names("stream")) - {"iid", "domains", "given"}:
        found[f"stream {name}"] = (*SMALL, "strategy=accumulate", f"stream={name}", "stream.tasks=2", *TASKS)
    return found


def run_campaign(nursery: Nursery, scratch: Path, results: Path, kills: int) -> Iterator[dict[str, Any]]:
    """Kill until there are so many kills in the file of results, the same number of every config.

    Yields:
        What was added to the file.
    """
    chosen = campaigns()
    lines = [line for line in read_results(results) if not line["kind"].startswith("sweep")]
    done = {name: sum(line["name"] == name and line["kind"] == "kill" for line in lines) for name in chosen}
    barred = {line["name"] for line in lines if line["kind"] == "refused"}
    rounds = len(lines)
    while sum(done.values()) < kills:
        name = min((name for name in chosen if name not in barred), key=lambda name: done[name])
        for line in kill_one(nursery, scratch / "run", name, chosen[name], random.Random(f"{name} {rounds}")):
            add_result(results, line)
            done[name] += line["kind"] == "kill"
            if line["kind"] == "refused":
                barred.add(name)
            yield line
        rounds += 1


def kill_one(
    nursery: Nursery, scratch: Path, name: str, words: tuple[str, ...], choices: random.Random, most: int = 6
) -> Iterator[dict[str, Any]]:
    """Run a config undisturbed, then kill it again and again until it comes to its end, and compare."""
    shutil.rmtree(scratch, ignore_errors=True)
    command = (*words, *WATCHED)
    end = nursery.run(scratch / "whole", *command)
    if end.code != 0:
        yield {"kind": "refused", "name": name, "code": end.code, "line": end.err.strip()[-500:]}
        return
    wanted = outcome(only_run(scratch / "whole"))
    lines = wanted["metrics"].count(b"\n")
    folder = scratch / "killed"
    for _ in range(most):
        life = nursery.start(folder, *command)
        kill = Kill.draw(choices, most_lines=max(1, 2 * lines // most), gentle=GENTLE)
        struck = kill_at_progress(life, folder, kill)
        code = life.end().code
        wrong = broken_invariants(folder, wanted["metrics"])
        if not struck or code == 0:
            break
        if code not in CODES and code != -kill.number:
            wrong.append(f"exit code {code}")
        yield {"kind": "kill", "name": name, **asdict(kill), "code": code, "wrong": wrong}
    end = nursery.run(folder, *command)
    wrong = differences(only_run(folder), wanted) if end.code == 0 else [f"exit code {end.code}: {end.err}"]
    yield {"kind": "end", "name": name, "wrong": wrong}
    if not wrong:
        shutil.rmtree(scratch)


def add_result(path: Path, line: dict[str, Any]) -> None:
    """Add a line to a file of results."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_results(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of results; none where there is no such file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
