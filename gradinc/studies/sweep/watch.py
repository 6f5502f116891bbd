"""The display of a sweep: a live table of all jobs on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gradinc.base.text import duration_text, percent_text, printable
from gradinc.config.compose import Job
from gradinc.config.names import short
from gradinc.records.directory import RunDirectory
from gradinc.records.schemas import read_meta
from gradinc.records.summary import score_shown
from gradinc.runs.display import LINE_EVERY
from gradinc.studies.sweep.shipment import Ending

STOPS = (130, 138, 143)
"""Exit codes of a run that SIGINT, SIGUSR1 or SIGTERM ended."""

_STYLES = {"finished": "green", "running": "bold", "waiting": "dim", "not started": "dim", "interrupted": "yellow"}
"""Style of each state; all other states are failures."""

SPENT_LINES = 3
"""Lines of the terminal without jobs: the heads of the columns, the counts, and the line of the cursor."""

GAP = 2
"""Spaces between two columns."""

LONGEST_END = 9
"""Characters of a run's name that are always shown: its final digits, by which commands find it."""


@dataclass
class _JobLine:
    """One job in the display.

    Attributes:
        label: the arguments in which it differs from the other jobs.
        short: the label with the last word of each key, if this word is unique.
        state: ``waiting``, ``running``, or its final state.
        failed: whether the state is a failure.
        share: the share of the job that is done, from 0 to 1.
        score: the validation score during training, then the test score.
        seconds: its duration.
        found: the rows of a micro-batch that ``micro_batch=auto`` has found.
    """

    label: str
    short: str
    directory: str
    state: str = "waiting"
    failed: bool = False
    share: float = 0.0
    score: str = ""
    seconds: float | None = None
    found: str = ""
    begun: float = 0.0
    numbers: dict[str, str] = field(default_factory=dict)
    told_at: float = 0.0


class Watch:
    """The state of every job of a sweep, shown as it changes. Engines call it from several threads.

    Args:
        jobs: the jobs of the sweep.
        console: the terminal or stream that it is printed on.
        quiet: whether only warnings and failures are shown.
        live: whether a table may be updated in place, on a terminal.
    """

    def __init__(self, jobs: Sequence[Job], console: Console, *, quiet: bool, live: bool) -> None:
        self.jobs, self.console, self.quiet = jobs, console, quiet
        self.lines = [_JobLine(*_labels(job), str(job.directory)) for job in jobs]
        self._together = 1  # most jobs that ran at a time
        self._lock = threading.RLock()
        self._live: Live | None = None
        if live and console.is_terminal and not quiet:
            self._live = Live(
                console=console,
                get_renderable=self.__rich__,
                refresh_per_second=4,
                transient=True,
                redirect_stderr=False,
            )

    def __enter__(self) -> Watch:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    # ---- reports ----

    def told(self, number: int, said: dict[str, Any]) -> None:
        """Process a worker's report of a job."""
        with self._lock:
            line = self.lines[number]
            if line.state != "running":
                line.state, line.begun, line.told_at = "running", time.monotonic(), time.monotonic()
                self._together = max(self._together, sum(each.state == "running" for each in self.lines))
            if "share" in said:
                line.share, line.numbers = said["share"], said["numbers"]
                line.score = line.numbers.get("validation", line.score)
            if "warning" in said:
                self._print(number, "warning: " + said["warning"], "yellow", even_quiet=True)
            elif self._live is None and line.numbers and time.monotonic() - line.told_at > LINE_EVERY:
                line.told_at = time.monotonic()
                numbers = "  ".join(f"{name} {value}" for name, value in line.numbers.items() if name != "at")
                self._print(number, f"{percent_text(line.share, 0)}  {numbers}")

    def finished_before(self, number: int) -> None:
        """Mark a job that was finished before this command."""
        with self._lock:
            line = self.lines[number]
            result = RunDirectory(self.jobs[number].config).result() or {}
            line.state, line.share, line.score = "finished", 1.0, score_shown(result.get("test"))
            line.found = self._found(number)
            self._print(number, f"is finished already, test {line.score}")

    def ended(self, number: int, ending: Ending) -> None:
        """Process the end of a job."""
        with self._lock:
            line = self.lines[number]
            try:
                result = RunDirectory(self.jobs[number].config).result() or {}
            except Exception:  # the job failed because its directory cannot be used; its ending reports this
                result = {}
            status = result.get("status")
            line.seconds = ending.seconds
            line.found = self._found(number)
            if ending.code == 0:
                line.state, line.share, line.score = "finished", 1.0, score_shown(result.get("test"))
            elif ending.code in STOPS:
                line.state = "interrupted"
            else:
                diverged = status == "diverged" and not ending.line
                line.state, line.failed = "diverged" if diverged else ending.death or "failed", True
            if ending.line and line.failed:
                self._print(number, ending.line, "red", even_quiet=True)
            score = f", test {line.score}" if line.state == "finished" else ""
            self._print(number, f"{line.state}{score}{line.found}, {duration_text(ending.seconds)}{self._time_left()}")

    def not_started(self) -> None:
        """Mark the waiting jobs, which this command will not start."""
        for line in self.lines:
            if line.state in ("waiting", "running"):
                line.state = "not started" if line.state == "waiting" else "interrupted"

    # ---- display ----

    def summary(self) -> list[list[str]]:
        """Return the final state of every job, as rows of a table with a head; shorter on a narrow terminal."""
        scores = [f", test {line.score}" if line.state == "finished" else "" for line in self.lines]
        states = [line.state + score + line.found for line, score in zip(self.lines, scores, strict=True)]
        rows = [[line.label, state, line.directory] for line, state in zip(self.lines, states, strict=True)]
        head, room = "directory", self.console.width
        folders = {str(job.directory.parent) for job in self.jobs}
        if self.console.is_terminal and len(folders) == 1 and sum(_widths(rows)) + 2 * GAP > room:
            head = f"in {folders.pop()}"
            names = [job.directory.name for job in self.jobs]
            rows = [[line.short, state, name] for line, state, name in zip(self.lines, states, names, strict=True)]
            left = max(LONGEST_END, room - sum(_widths(rows)[:2]) - 2 * GAP)
            rows = [[label, state, _end(name, left)] for label, state, name in rows]
        return [["job", "state", head], *rows]

    def counts(self) -> str:
        """Return how many jobs are in which state: ``21 finished · 2 failed · 1 waiting``."""
        order = ["finished", "running", "diverged", "failed", "interrupted", "waiting", "not started"]
        states = [line.state for line in self.lines]
        names = [name for name in order if name in states] + sorted(set(states) - set(order))
        return " · ".join(f"{states.count(name)} {name}" for name in names)

    def _found(self, number: int) -> str:
        """Return what ``micro_batch=auto`` has found for a job; empty if it was not asked for."""
        job = self.jobs[number]
        if job.config.strategy.window.micro_batch != "auto":
            return ""
        rows = (read_meta(job.directory / "meta.json") or {}).get("micro_batch")
        return f", micro_batch={rows}" if isinstance(rows, int) else ""

    def _time_left(self) -> str:
        """Return the expected time of the other jobs, from the mean of the finished ones; empty if not known."""
        ended = [line.seconds for line in self.lines if line.state == "finished" and line.seconds]
        running = [line for line in self.lines if line.state == "running"]
        left = sum(line.state == "waiting" for line in self.lines) + sum(1 - line.share for line in running)
        if not ended or not left:
            return ""
        return f"; about {duration_text(left * sum(ended) / len(ended) / self._together)} left"

    def _print(self, number: int, text: str, style: str = "", *, even_quiet: bool = False) -> None:
        if self.quiet and not even_quiet:
            return
        if self._live is not None and not even_quiet:
            return  # the table shows it
        label = f"[{number + 1}/{len(self.lines)}] {self.lines[number].label}: "
        self.console.print(Text.assemble((printable(label), "bold"), (printable(text), style)), soft_wrap=True)

    def __rich__(self) -> RenderableType:
        """Return the table as it is now."""
        with self._lock:
            shown, hidden = self._chosen(self.console.height - SPENT_LINES)
            rows = [_cells(line) for line in shown]
            heads = ("state", "done", "score", "time")
            widths = _widths([heads, *rows])
            room = max(1, self.console.width - sum(widths) - GAP * len(widths))
            long = any(len(line.label) > room for line in self.lines)
            labels = [_end(line.short if long else line.label, room) for line in shown]
            table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
            table.add_column("job", no_wrap=True, width=min(room, max([3, *map(len, labels)])))
            for head, width in zip(heads, widths, strict=True):
                table.add_column(head, no_wrap=True, width=width, justify="left" if head == "state" else "right")
            for line, label, (state, *rest) in zip(shown, labels, rows, strict=True):
                style = "red" if line.failed else _STYLES.get(line.state, "")
                table.add_row(Text(label), Text(state, style), *map(Text, rest))
            more = f" ({hidden} not shown)" if hidden else ""
            last = self.counts() + self._time_left() + more
            return Group(table, Text(last, style="bold", no_wrap=True, overflow="ellipsis"))

    def _chosen(self, room: int) -> tuple[list[_JobLine], int]:
        """Return the jobs that fit on the screen, in their order: running jobs, failures, then their neighbours."""
        if len(self.lines) <= room:
            return self.lines, 0
        now = next((n for n, line in enumerate(self.lines) if line.state in ("running", "waiting")), 0)
        ranked = sorted(
            range(len(self.lines)),
            key=lambda n: (self.lines[n].state != "running", not self.lines[n].failed, abs(n - now)),
        )
        kept = sorted(ranked[: max(1, room)])
        return [self.lines[n] for n in kept], len(self.lines) - len(kept)


def _labels(job: Job) -> tuple[str, str]:
    """Return the long and the short name of a job."""
    pairs = [word.partition("=") for word in job.swept]
    keys = [key for key, _, _ in pairs]
    few = " ".join(f"{short(key, keys)}={value}" for key, _, value in pairs)
    return " ".join(job.swept) or job.directory.name, few or job.directory.name


def _cells(line: _JobLine) -> tuple[str, str, str, str]:
    """Return the displayed state, finished share, score and time."""
    seconds = time.monotonic() - line.begun if line.state == "running" else line.seconds
    done = percent_text(line.share, 0) if line.share else ""
    return printable(line.state), done, line.score, "" if seconds is None else duration_text(seconds)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _end(text: str, room: int) -> str:
    """Return the end of a text that is too long: it distinguishes neighbours in a grid."""
    text = printable(text)
    return text if len(text) <= room else "…" + text[len(text) - room + 1 :]
