"""docs/reliability.md: the promises, where each is tested, and what the campaign of random kills came to."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import bugs
from campaign import read_results

PROMISES: list[tuple[str, str, str]] = [
    (
        "P1",
        "`kill -9` at any instant; the same command goes on and ends with the same weights, buffers, memories,"
        " importances, bases and `metrics.jsonl`, bit for bit",
        "test_kill.py, `scripts/kill_test`",
    ),
    (
        "P2",
        "a checkpoint is whole or absent; one that was cut short, changed or swapped is found before it is used, and"
        " the one before is used, with one warning line",
        "test_damaged_checkpoints.py, test_lost_weights.py, test_fuzz.py",
    ),
    (
        "P3",
        "SIGTERM, SIGINT, SIGUSR1: saved within one micro-batch, the command that goes on is printed, exit code"
        " 143, 130 or 138; a second signal ends it at once",
        "test_signals.py",
    ),
    (
        "P4",
        "the same command on a finished run does nothing, exits 0 and says where the results are",
        "test_same_command_again.py",
    ),
    (
        "P5",
        "under an explicit `name=` a changed config is refused, with the key, its old and its new value",
        "test_same_command_again.py",
    ),
    ("P6", "changed data under a run are refused", "test_same_command_again.py"),
    (
        "P7",
        "another torch, processor, instruction set, number of threads or version of gradinc is told and recorded;"
        " `strict=true` refuses it",
        "test_same_command_again.py, records/test_environment.py",
    ),
    (
        "P8",
        "two processes never share a run directory, and one that was killed keeps nobody out",
        "test_two_processes.py, test_held.py",
    ),
    (
        "P9",
        "in a sweep one job that fails, exits or diverges does not stop the others; the same command skips what is"
        " finished and retries the rest",
        "cli/test_running.py, test_killed_streams.py",
    ),
    ("P10", "a run in a sweep is the run alone, bit for bit, in any order", "test_watching.py"),
    ("P11", "all jobs of a sweep are composed before the first starts", "config/test_compose.py"),
    (
        "P12",
        "NaN or Inf in loss, gradient or weights ends the run before it is saved; the last good checkpoint stays,"
        " and the run is marked as diverged, with the step and the tensor",
        "test_faults.py",
    ),
    (
        "P13",
        "disk full, read-only or over quota: one line with the path, the bytes that are needed and those that are"
        " free; the same command goes on later",
        "test_faults.py",
    ),
    ("P14", "out of memory: one line with a smaller micro-batch that makes the same update", "test_faults.py"),
    (
        "P15",
        "a bad data file is named, with what is wrong and the mend",
        "data/test_idx.py, test_npz.py, test_image_folder.py, test_named_sets.py",
    ),
    (
        "P16",
        "nothing in a checkpoint, a run directory, a data file, a config or a name can run code, write outside its"
        " place, fill the memory or drive the terminal",
        "test_untrusted_runs.py, test_forged_checkpoints.py, test_fuzz.py, cli/test_untrusted_config.py,"
        " studies/tune/test_damaged_search.py, data/",
    ),
    (
        "P17",
        "watching changes nothing: how often it is saved, measured and logged, progress, workers, folder, hashes."
        " Another seed or one more step does. Exempt: `budget.seconds`",
        "test_watching.py",
    ),
    ("P18", "a comparison is a pure function of run directories", "records/, studies/report/"),
    ("P19", "a bad argument: one line, the nearest right one, exit code 2, nothing made", "cli/test_wrong_commands.py"),
    (
        "P20",
        "`gradinc verify RUN` runs the last stretch again and compares bits; `gradinc drill N -- train …` kills your"
        " own job N times",
        "studies/test_verify.py, studies/test_drill.py",
    ),
    (
        "P21",
        "what a run has ended with is sealed: a result, log, record or checkpoint that was changed, cut or removed"
        " later is found by whoever takes a number or weights from it, and is in no mean",
        "records/test_seal.py, studies/tables/test_document.py, studies/tables/test_measured.py,"
        " studies/tune/test_damaged_search.py",
    ),
]

TEXT = """\
# What gradinc promises, and how it is shown

A test of each promise runs with every `pytest`; files without a folder are in `tests/runs/`. This page is
written by `scripts/kill_test --page`; the numbers on it come from a campaign that
`scripts/kill_test --layers 2` ran with the sources of that day.

| | promise | tested by |
|---|---|---|
{promises}

Not promised: the same bits across versions of torch, kinds of processor, numbers of threads, or CPU and GPU;
power cuts on network file systems; protection from a hostile `--config-dir` beyond P16, or from a hostile Python path.

## What a seal covers

A run that has ended, finished or diverged, writes `result.json` last, and in it `seal`: one SHA-256 over the result
itself (canonical JSON) and over the size and SHA-256 of `config.yaml`, `meta.json`, `metrics.jsonl`,
`timing.jsonl`, the newest checkpoint and `ckpt/best`. Of a checkpoint it holds the 32 bytes of SHA-256 that the
file begins with: listings compare these and the size, and who loads the weights hashes the rest. A seal finds
damage; it is no signature.

`runs`, `compare`, `diff`, `report` and tables mark what does not match as `damaged`, name the file and leave its
numbers out of every mean; `export` leaves the run out; `verify` tells the difference; `test`, `gradinc.load`,
`init=`, `attack`, `invert` and `sharpness` refuse it, and so do the same command and a sweep. They mend two files:
`config.yaml`, which is written from the command, and `result.json`, which the newest checkpoint gives again.
Weights are part of the record: a finished run whose `ckpt/` was removed is damaged (`checkpoint.keep=1` keeps the
smallest one that is whole).

Not covered, since it comes later or says nothing of the numbers: older checkpoints, `error.log`, `owner.json`, and
`measured/`, whose files have seals of their own and hold for one digest of weights. A run that was interrupted or
has failed seals its result alone, since its log goes on. A search seals `tune.json` with the journal as far as it
had come, after every trial; a named sweep seals `sweep.json`. Runs from before there were seals are read as they
always were, and are called `unsealed`; `gradinc runs seal=unsealed` lists them.

## The kill test

| layer | what | where |
|---|---|---|
| 0 | two undisturbed runs are the same, to the bit | `test_two_runs_agree` |
| 1 | SIGKILL at every named crash point: first three, middle and last visit | `test_killed_at_a_crash_point` |
| 2 | random kills of seven chosen configs: 21 with every `pytest` | `test_killed_at_random` |
| 3 | random kills of every strategy on three streams, optimizer, schedule, model, stream | `scripts/kill_test` |
| 4 | restarts that forget something must be noticed: {mutants} of them | `test_…_is_noticed` |
| 5 | sweeps whose jobs fail, whose parent or workers are killed, whose disk is full | `sweep/`, `scripts/kill_test` |

A random kill waits for some more lines of the log and then up to 20 ms, so that it falls anywhere: into a
micro-batch, a checkpoint, an evaluation, the end of a task. After each one every checkpoint must be whole and
the committed part of the log unchanged, and nothing may lie outside the run's directory. In the end the run must
be the same as an undisturbed one: result, log, newest and best checkpoint, to the bit.

{campaign}

## Long runs

{long_runs}
"""


def page(results: Path, long_runs: dict[str, Any] | None) -> str:
    """The page as Markdown.

    Args:
        results: the campaign's file.
        long_runs: what ``scripts/long_runs`` printed.
    """
    promises = "\n".join(f"| {number} | {promise} | {where} |" for number, promise, where in PROMISES)
    return TEXT.format(
        promises=promises,
        campaign=_campaign(read_results(results)) + _sweeps(read_results(results)),
        mutants=_mutants(),
        long_runs=_long_runs(long_runs),
    )


def _mutants() -> int:
    """How many ways of forgetting something there are in `bugs`."""
    return sum(name.startswith(("forget_", "carry_")) for name in vars(bugs))


def _campaign(lines: list[dict[str, Any]]) -> str:
    kills = [line for line in lines if line["kind"] == "kill"]
    failures = [line for line in lines if line.get("wrong") and not line["kind"].startswith("sweep")]
    ends = sum(line["kind"] == "end" for line in lines)
    if not kills:
        return "No campaign has been run yet."
    signals = Counter(signal.Signals(line["number"]).name for line in kills)
    groups = Counter(_group(line["name"]) for line in kills)
    configs = len({line["name"] for line in kills})
    bound = f"so the rate of failures is below 3/{len(kills):,} = {300 / len(kills):.2g} % with 95 % confidence"
    outcome = f"{len(failures)} failures" + (f", {bound}" if not failures else "")
    shares = ", ".join(f"{count:,} {name}" for name, count in sorted(signals.items()))
    rows = "\n".join(f"| {name} | {count:,} |" for name, count in sorted(groups.items()))
    return (
        f"**{len(kills):,} random kills of {configs} configs, {ends} runs compared at their end: {outcome}.**\n"
        f"Signals: {shares}.\n\n| kills of | number |\n|---|---|\n{rows}"
    )


def _group(name: str) -> str:
    first = name.split()[0]
    if first in ("optimizer", "schedule", "model", "stream") and len(name.split()) == 2:
        return f"every {first}"
    return "every strategy, on a stream of tasks" if " on " in name else "the chosen configs"


def _long_runs(found: dict[str, Any] | None) -> str:
    if found is None:
        return "Not measured yet: `scripts/long_runs`."
    seconds = found["resume_seconds"]
    megabytes = seconds["hour_log_bytes"] / 1e6
    rows = "\n".join(
        f"| {name} | {each['memory_at_half']} | {each['memory_at_end']} | {each['kilobytes_per_task']} |"
        f" {each['metrics_bytes']:,} | {each['timing_bytes']:,} | {each['checkpoints']} |"
        for name, each in found["streams"].items()
    )
    return (
        f"`scripts/long_runs` trains on streams of {found['tasks']} small tasks, with a log line for every update."
        " Resident memory in MB, and\nits slope over the second half of the tasks in kB per task:\n\n"
        "| strategy | at half | at the end | slope | bytes of `metrics.jsonl` | of `timing.jsonl` | checkpoints |\n"
        f"|---|---|---|---|---|---|---|\n{rows}\n\n"
        "The accuracy matrix grows by a row with each task, and so does the log. Test rows of all tasks are kept in"
        " memory\nwhere they fit into a quarter of it, from the first measuring on; validation rows only of the tasks"
        "\nthat are trained on.\n\n"
        f"A run whose log is made as long as an hour at 100 lines a second would make it ({megabytes:.0f} MB) goes on"
        f" in {seconds['hour']} s,\nimports aside, to its next checkpoint; with its own log of"
        f" {seconds['short_log_bytes']:,} bytes in {seconds['short']} s."
    )


def _sweeps(lines: list[dict[str, Any]]) -> str:
    kills = [line for line in lines if line["kind"] == "sweep kill"]
    if not kills:
        return ""
    ends = sum(line["kind"] == "sweep end" for line in lines)
    failures = sum(bool(line["wrong"]) for line in lines if line["kind"].startswith("sweep"))
    ways = ", ".join(f"{count} {way}" for way, count in sorted(Counter(line["way"] for line in kills).items()))
    return (
        f"\n\n**{len(kills)} sweeps of four jobs in two workers disturbed at random, {ends} compared at their end with"
        f" an undisturbed one: {failures} failures.**\nWhat was killed, or full: {ways}."
    )
