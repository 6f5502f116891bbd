"""docs/reliability.md: the promises, their tests, and the results of the campaign of random kills."""

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
        "After `kill -9` at any instant, the same command resumes and ends with the same weights, buffers,"
        " memories, importances, bases and `metrics.jsonl`, bit for bit.",
        "test_kill.py, `scripts/kill_test`",
    ),
    (
        "P2",
        "A checkpoint is whole or absent. A checkpoint that was cut short, changed or swapped is found before it is"
        " used; the one before it is used instead, with one line of warning.",
        "test_damaged_checkpoints.py, test_lost_weights.py, test_fuzz.py",
    ),
    (
        "P3",
        "On SIGTERM, SIGINT or SIGUSR1 the run is saved within one micro-batch, the command that resumes it is"
        " printed, and the exit code is 143, 130 or 138. A second signal ends the process at once.",
        "test_signals.py",
    ),
    (
        "P4",
        "The same command on a finished run does nothing, exits with 0 and prints where the results are.",
        "test_same_command_again.py",
    ),
    (
        "P5",
        "With an explicit `name=`, a changed config is refused, with the key, its old value and its new value.",
        "test_same_command_again.py",
    ),
    (
        "P6",
        "If the data of a run changed, resuming it is refused.",
        "test_same_command_again.py",
    ),
    (
        "P7",
        "Another PyTorch, processor, instruction set, number of threads or version of the code (gradinc's, or of a"
        " package that a part is from) is reported and recorded; `strict=true` refuses it.",
        "test_same_command_again.py, test_environment.py, test_edited_code.py",
    ),
    (
        "P8",
        "Two processes never share a run directory, and a killed process never blocks one.",
        "test_two_processes.py, test_held.py",
    ),
    (
        "P9",
        "A job of a sweep that fails, exits or diverges does not stop the others. The same command skips finished"
        " jobs and retries the rest.",
        "test_running.py, test_killed_streams.py",
    ),
    (
        "P10",
        "A run in a sweep has the same bits as the run alone, in any order.",
        "test_watching.py",
    ),
    (
        "P11",
        "All jobs of a sweep are composed before the first one starts.",
        "test_compose.py",
    ),
    (
        "P12",
        "NaN or Inf is never measured, logged or saved. The weights are checked before every log line, measurement and"
        " checkpoint; one process on a CPU also checks the loss in every step. The last good checkpoint stays, and the"
        " run is marked as diverged, with the step and the tensor. A gradient with NaN or Inf can reach the weights in"
        " memory; the next check finds it.",
        "test_faults.py",
    ),
    (
        "P13",
        "If the disk is full, read-only or over quota, one line gives the path, the bytes needed and the bytes"
        " free. The same command resumes later.",
        "test_faults.py",
    ),
    (
        "P14",
        "If memory runs out, one line suggests a smaller micro-batch that makes the same update.",
        "test_faults.py",
    ),
    (
        "P15",
        "A bad data file is named, with what is wrong and the fix.",
        "test_idx.py, test_npz.py, test_image_folder.py, test_named_sets.py",
    ),
    (
        "P16",
        "Nothing in a checkpoint, a run directory, a data file, a config or a name can run code, write outside its"
        " folder, fill the memory or control the terminal.",
        "test_untrusted_runs.py, test_forged_checkpoints.py, test_fuzz.py, test_untrusted_config.py,"
        " test_damaged_search.py, test_npz.py",
    ),
    (
        "P17",
        "Observing a run does not change it: how often it is saved, measured and logged, its progress display,"
        " workers, folder and hashes have no effect. Another seed or one more step does. Exception:"
        " `budget.seconds`.",
        "test_watching.py",
    ),
    (
        "P18",
        "A comparison is a pure function of run directories.",
        "test_runs.py, test_report.py",
    ),
    (
        "P19",
        "A bad argument gets one line with the closest valid one and exit code 2, and nothing is created.",
        "test_wrong_commands.py",
    ),
    (
        "P20",
        "`gradinc verify RUN` repeats the last part of a run and compares the bits; `gradinc drill N -- train …`"
        " kills your own job N times.",
        "test_verify.py, test_drill.py",
    ),
    (
        "P21",
        "The files of an ended run are sealed. Every reader of its numbers or weights finds a result, log, record"
        " or checkpoint that was changed, cut or removed later, and no mean includes the run.",
        "test_seal.py, test_document.py, test_measured.py, test_damaged_search.py",
    ),
]

TEXT = """\
# Reliability: promises and their tests

Each promise has a test that runs with every `pytest`; the last column names its file under `tests/`. This page is
written by `scripts/kill_test --page`. Its numbers are of one campaign, `scripts/kill_test --layers 2`, with the source
of that day.

| | promise | tested by |
|---|---|---|
{promises}

Not promised: the same bits across versions of PyTorch, kinds of processor, numbers of threads, or CPU and GPU;
power cuts on network file systems; protection from a hostile `--config-dir` beyond P16, or from a hostile Python path.

## What a seal covers

When a run ends, finished or diverged, it writes `result.json` last. The key `seal` in it is one SHA-256 over the
result itself (canonical JSON) and over the size and SHA-256 of `config.yaml`, `meta.json`, `metrics.jsonl`,
`timing.jsonl`, the newest checkpoint and `ckpt/best`. A checkpoint file starts with its own SHA-256 (32 bytes): the
seal contains these bytes. Listings compare these bytes and the size; commands that load the weights hash the rest. A
seal detects damage; it is not a signature.

A run that does not match its seal is `damaged`:

- `runs`, `compare`, `diff`, `report` and tables mark it, name the file, and leave its numbers out of every mean.
- `export` leaves the run out, and `verify` reports the difference.
- `test`, `gradinc.load`, `init=`, `attack`, `invert`, `sharpness`, the same command and a sweep refuse it. The same
  command and a sweep restore two files: `config.yaml` from the command, and `result.json` from the newest checkpoint.

Weights are part of the record: a finished run without its `ckpt/` is damaged. `checkpoint.keep=1` keeps the smallest
`ckpt/` that is whole.

Some files are not covered, because they come later or do not affect the numbers: older checkpoints, `error.log` and
`owner.json`. The files in `measured/` have their own seals, which are valid for one digest of weights. An interrupted
or failed run seals only its result, because its log continues. A search seals `tune.json` with its journal after every
trial; a named sweep seals `sweep.json`. Runs from before seals existed are read as before and are called `unsealed`;
`gradinc runs seal=unsealed` lists them.

## The kill test

| layer | what | where |
|---|---|---|
| 0 | two undisturbed runs have the same bits | `test_two_runs_agree` |
| 1 | SIGKILL at every named crash point: first three, middle and last visit | `test_killed_at_a_crash_point` |
| 2 | random kills of seven chosen configs: 21 with every `pytest` | `test_killed_at_random` |
| 3 | random kills of every strategy on three streams, optimizer, schedule, model, stream | `scripts/kill_test` |
| 4 | {mutants} broken restarts, each of which forgets something; a test must notice each | `test_…_is_noticed` |
| 5 | sweeps with failing jobs, killed parents and workers, full disks | `test_sweep.py`, `scripts/kill_test` |

A random kill waits for a few more log lines and then up to 20 ms, so it can hit anything: a micro-batch, a checkpoint,
an evaluation or the end of a task. After each kill every checkpoint must be whole, the committed part of the log must
be unchanged, and no file may be outside the run's directory. At the end the run must equal an undisturbed run to the
bit: result, log, newest checkpoint and best checkpoint.

{campaign}

## Long runs

{long_runs}
"""


def page(results: Path, long_runs: dict[str, Any] | None) -> str:
    """The page as Markdown.

    Args:
        results: the campaign's file.
        long_runs: the output of ``scripts/long_runs``.
    """
    promises = "\n".join(f"| {number} | {promise} | {where} |" for number, promise, where in PROMISES)
    return TEXT.format(
        promises=promises,
        campaign=_campaign(read_results(results)) + _sweeps(read_results(results)),
        mutants=_mutants(),
        long_runs=_long_runs(long_runs),
    )


def _mutants() -> int:
    """Number of broken restarts in `bugs`."""
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
    bound = f"so the failure rate is below 3/{len(kills):,} = {300 / len(kills):.2g} % with 95 % confidence"
    outcome = f"{len(failures)} failures" + (f", {bound}" if not failures else "")
    shares = ", ".join(f"{count:,} {name}" for name, count in sorted(signals.items()))
    rows = "\n".join(f"| {name} | {count:,} |" for name, count in sorted(groups.items()))
    return (
        f"**{len(kills):,} random kills of {configs} configs; {ends} runs compared at their end: {outcome}.**\n"
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
        "\nThe table has resident memory in MB, and its slope over the second half of the tasks in kB per task:\n\n"
        "| strategy | at half | at the end | slope | bytes of `metrics.jsonl` | of `timing.jsonl` | checkpoints |\n"
        f"|---|---|---|---|---|---|---|\n{rows}\n\n"
        "The accuracy matrix and the log grow by one row with each task. Test rows of all tasks are kept in memory from"
        "\nthe first evaluation on, if they fit into a quarter of it. Validation rows are kept for trained tasks only."
        "\n\n"
        f"Resuming a run with a log of {megabytes:.0f} MB, as one hour at 100 lines a second writes, takes"
        f" {seconds['hour']} s to the next\ncheckpoint, without imports; with a log of"
        f" {seconds['short_log_bytes']:,} bytes it takes {seconds['short']} s."
    )


def _sweeps(lines: list[dict[str, Any]]) -> str:
    kills = [line for line in lines if line["kind"] == "sweep kill"]
    if not kills:
        return ""
    ends = sum(line["kind"] == "sweep end" for line in lines)
    failures = sum(bool(line["wrong"]) for line in lines if line["kind"].startswith("sweep"))
    ways = ", ".join(f"{count} {way}" for way, count in sorted(Counter(line["way"] for line in kills).items()))
    return (
        f"\n\n**{len(kills)} random disturbances of sweeps of four jobs in two workers; {ends} sweeps compared at their"
        f" end with\nan undisturbed sweep: {failures} failures.** What was killed or full: {ways}."
    )
