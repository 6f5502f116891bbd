"""``gradinc bench``: speed against hand-written loops, the cost of every strategy, or checks of a GPU."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gradinc.base.errors import UserError
from gradinc.base.text import print_json
from gradinc.cli.arguments import Parser, check_counts

DESCRIPTIONS = {
    "": "Speed against a hand-written loop, the time of whole commands, and what methods compute from past tasks.",
    "strategies": "Processor time of every rule and method, and of diagnostics, over plain accumulation.",
    "incremental": "Streams of tasks against hand-written loops.",
    "speech": "Training on spectrograms against a hand-written loop.",
    "text": "Training on rows of tokens against a hand-written loop.",
    "cuda": "Checks on a GPU: the CPU's numbers, no waiting, resuming, two GPUs; and speed. Exit code 1: one failed.",
}
"""The benches by the word after ``gradinc bench``."""

NOUNS = {
    "": "bench",
    "strategies": "strategy",
    "incremental": "stream",
    "speech": "bench",
    "text": "bench",
    "cuda": "check",
}
"""Name of a line in each bench's table."""

ROUNDS = {"": 7, "strategies": 9, "incremental": 5, "speech": 7, "text": 7, "cuda": 5}
"""Default number of pairs of turns for a ratio."""


def main(arguments: Sequence[str]) -> int:
    """Print the ratios as a table or, with ``--json``, as one JSON document."""
    which = arguments[0] if arguments and arguments[0] in DESCRIPTIONS else ""
    options = _parser(which).read(arguments[1:] if which else arguments)
    check_counts(options, "rounds", *(("tasks", "rows") if which == "incremental" else ()))
    from rich.console import Console
    from rich.progress import track

    from gradinc.studies.bench import cuda, harness

    benches = _benches(which, options)
    chosen = [name for name in benches if options.only in name]
    if not chosen:
        raise UserError(f"--only {options.only}", f"no such {NOUNS[which]}", f"Choose from: {', '.join(benches)}")
    console = Console(stderr=True)
    hidden = options.quiet or not console.is_terminal
    names = track(chosen, description="measuring", console=console, transient=True, disable=hidden)
    results = []
    for name in names:
        try:
            results.append(benches[name](options.rounds))
        except harness.Skipped as reason:
            console.print(f"{name}: skipped, {reason}", soft_wrap=True, markup=False, highlight=False)
    if options.json:
        print_json([asdict(result) for result in results])
    elif which == "cuda":
        cuda.print_checks(results)
    else:
        harness.print_results(NOUNS[which], results)
    return int(which == "cuda" and any(result.passed is False for result in results))


def _parser(which: str) -> Parser:
    others = (
        "gradinc bench strategies measures the cost of each rule and method,\n"
        "gradinc bench incremental streams, gradinc bench cuda a GPU."
    )
    parser = Parser(f"bench {which}".strip(), DESCRIPTIONS[which], "" if which else others)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    rounds = f"pairs of turns for each ratio (default {ROUNDS[which]})"
    parser.add_argument("--rounds", type=int, metavar="N", default=ROUNDS[which], help=rounds)
    parser.add_argument("--only", metavar="TEXT", default="", help="only the lines whose name contains this text")
    if which == "incremental":
        parser.add_argument("--tasks", type=int, metavar="N", default=5, help="tasks of a stream (default 5)")
        rows = "training rows of a task (default 12,800)"
        parser.add_argument("--rows", type=int, metavar="N", default=12_800, help=rows)
    return parser


def _benches(which: str, options: Namespace) -> dict[str, Any]:
    """Return the lines of a bench, each with the function that measures it."""
    from gradinc.studies.bench import (
        commands,
        cuda,
        handwritten,
        images,
        incremental,
        micro_batches,
        past,
        speech,
        strategies,
        text,
    )

    if which == "cuda":
        return cuda.checks(cuda.gpu())
    if which == "strategies":
        return strategies.costs()
    if which == "incremental":
        return incremental.streams(options.tasks, options.rows)
    if which == "speech":
        return speech.spoken()
    if which == "text":
        return text.token_rows()
    trained = {**handwritten.trainings(), **micro_batches.micro_batches(), **past.past()}
    return {**trained, **images.image_folders(), **commands.commands()}
