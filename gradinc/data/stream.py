"""A stream of tasks: their rows, their labels, and the outputs of the model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from typing import Any, overload

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.config.catalog import load_part
from gradinc.config.protocol import Protocol, Scenario, protocol
from gradinc.config.schema import Config, DataSection
from gradinc.config.schema import StreamSection as Options
from gradinc.data import greedy
from gradinc.data.available_memory import fits
from gradinc.data.dataset import Dataset, load_dataset
from gradinc.data.experience import Experience, Material
from gradinc.data.joined_rows import JoinedRows, joined
from gradinc.data.labels import Labels, assign, is_shared
from gradinc.data.outputs import Outputs
from gradinc.data.rows import Rows, TensorRows
from gradinc.data.task import Setting, Task
from gradinc.data.token_rows import TokenRows
from gradinc.data.vocabulary import with_vocabulary


class Stream(Sequence[Task]):
    """A sequence of tasks; ordinary training is a stream of one.

    Tasks are built on demand, and a task whose inputs are changed is a view of the data set: any number of permutations
    takes the memory of one data set.
    Training uses the items of the sequence; evaluation uses `tested` tasks. If all tasks are trained on together, there
    are more tasks than items.

    Attributes:
        experiences: the definition of each task.
        options: the ``stream`` section of the config.
        labels: the outputs of the model for each label.
        setting: properties that all tasks share.
    """

    def __init__(
        self, experiences: Sequence[Experience], options: Options, scenario: Scenario | None, seed: int
    ) -> None:
        self.experiences, self.options, self.seed = tuple(experiences), options, seed
        first = self.experiences[0].dataset
        self.device = first.train.y.device
        self.regression = first.classes is None and not (first.text is not None and first.text.each)
        self.labels: Labels | None = None
        if first.classes is None and options.data == "memory":
            what = f"balances classes, and data={first.name} has none"
            raise UserError("stream.data=memory", what, "Use stream.data=cumulative, or strategy=er")
        if first.classes is not None:
            classes = [each.classes for each in self.experiences]
            self.labels = assign(classes, protocol(scenario, options, shared=is_shared(classes)))
        self.setting = Setting(
            len(self.experiences),
            first.outputs if self.labels is None else self.labels.outputs,
            options.memory_unit,
            0 if self.labels is None else self.labels.outputs,
            0 if self.labels is None else self._pairs(self.labels),
            first.mean,
            first.std,
            first.shape,
            first.text,
        )
        if any(each.train is not None and each.targets is None for each in self.experiences) and not (
            self.labels and self.labels.all_count
        ):
            fix = "Use scenario=class without stream.train_logits, where every output counts"
            raise UserError(f"stream={options.name}", "its tasks have rows of each other's classes", fix)
        if options.scored_tasks is not None and options.scored_tasks > self.tested:
            raise UserError(
                f"stream.scored_tasks={options.scored_tasks}",
                f"the stream has {self.tested} tasks",
                f"Use {self.tested} at most",
            )
        self._tests: dict[tuple[str, int], Rows] = {}
        self._latest: Task | None = None
        self._latest_index = -1

    # ---- training ----

    def __len__(self) -> int:
        return 1 if self.options.data == "joint" else len(self.experiences)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | Sequence[Task]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._latest is None or self._latest_index != index:
            self._latest = None  # release the previous task, and validation rows that are not needed again
            self._tests = {key: rows for key, rows in self._tests.items() if self._is_measured(*key, index)}
            self._latest, self._latest_index = self._build(index), index
        return self._latest

    def __iter__(self) -> Iterator[Task]:
        return (self[index] for index in range(len(self)))

    @cached_property
    def lengths(self) -> list[int]:
        """Return the training rows of each item of the sequence."""
        if self.options.data == "memory":
            return [sum(len(rows) for rows in self._chosen(index).values()) for index in range(len(self))]
        sizes = [self._shown(task) for task in range(len(self.experiences))]
        if self.options.data == "current":
            return sizes
        return list(accumulate(sizes)) if self.options.data == "cumulative" else [sum(sizes)]

    @property
    def longest(self) -> int:
        """Return the training rows of the largest task."""
        return max(self.lengths)

    @property
    def budgets(self) -> tuple[int, int]:
        """Return the number of tasks, and the number of their budgets that an item of the sequence has."""
        tasks = len(self.experiences)
        return tasks, tasks if self.options.data == "joint" else 1

    @cached_property
    def tokens(self) -> float | None:
        """Return the mean number of tokens of a training row of the first task's data set; None without tokens."""
        lengths = self.experiences[0].dataset.train.lengths
        return None if lengths is None or len(lengths) == 0 else float(lengths.double().mean())

    def parts(self, index: int) -> range:
        """Return the tasks whose rows an item of the sequence has, or could have."""
        tasks = len(self.experiences)
        return {"current": range(index, index + 1), "joint": range(tasks)}.get(self.options.data, range(index + 1))

    # ---- evaluation ----

    @property
    def tested(self) -> int:
        """Number of tasks."""
        return len(self.experiences)

    @property
    def scored(self) -> range:
        """The tasks that metrics include: the last ``stream.scored_tasks``."""
        count = self.options.scored_tasks or self.tested
        return range(self.tested - count, self.tested)

    def size(self, name: str, index: int) -> int:
        """Return the number of rows of a task, in all of a part: ``train``, ``validation`` or ``test``."""
        experience = self.experiences[index]
        indices = experience.indices(name)
        return experience.size(name) if indices is None else len(indices)

    def part(self, name: str, index: int) -> Rows:
        """Return the ``validation`` or ``test`` rows of one task: a view if its inputs are changed, else rows that are
        cached if those of all tasks fit in memory."""
        key = (name, index)
        if key in self._tests:
            return self._tests[key]
        experience = self.experiences[index]
        rows = self._labelled(index, experience.rows(name, experience.indices(name)))
        if isinstance(rows, TensorRows) and fits(rows.x.nbytes * self.tested, self.device):
            self._tests[key] = rows
        return rows

    # ---- facts for the model and the record ----

    @property
    def is_sequence(self) -> bool:
        """Return whether the stream is more than ordinary training."""
        return self.options.name != "iid"

    @property
    def has_matrix(self) -> bool:
        """Return whether the accuracy on each task is measured after each task; a regression has no accuracy."""
        return self.is_sequence and not self.regression

    @property
    def outputs(self) -> Outputs | None:
        """The outputs of the model that count for each task; None if all outputs always count."""
        return None if self.labels is None else self.labels.visible(self.device)

    @property
    def heads(self) -> list[range]:
        """The outputs of each task's own head, if tasks have heads."""
        return [] if self.labels is None or self.labels.protocol.heads != "multi" else self.labels.heads

    @property
    def protocol(self) -> Protocol | None:
        """The outputs that count in training and in testing; None for ordinary training."""
        return self.labels.protocol if self.is_sequence and self.labels is not None else None

    @cached_property
    def digest(self) -> str:
        """Return the digest of all data of the tasks."""
        digests = dict.fromkeys(each.dataset.digest for each in self.experiences)
        if len(digests) == 1:
            return next(iter(digests))
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def record(self) -> dict[str, Any]:
        """Return a run's record of its data: the first task's, with facts that hold for all tasks."""
        record = {**self.experiences[0].dataset.record(), "digest": self.digest, "outputs": self.setting.outputs}
        if self.labels is not None and self.protocol is not None:
            sources = list(dict.fromkeys(each.dataset.origin for each in self.experiences))
            record["protocol"] = self.protocol.record()
            record["tasks"] = [{"classes": list(own)} for own in self.labels.classes]
            for task, each in zip(record["tasks"], self.experiences, strict=True):
                if each.group is not None and each.dataset.groups is not None:
                    task["group"] = each.dataset.groups.names[each.group]
            record |= {"origins": sources} if len(sources) > 1 else {}
        return record

    # ---- inside ----

    def _is_measured(self, name: str, task: int, index: int) -> bool:
        """Return whether a task is evaluated while an item of the sequence is trained on; test rows always are."""
        return name == "test" or task in self.parts(index)

    def _pairs(self, labels: Labels) -> int:
        if any(
            each.train is not None and each.targets is None for each in self.experiences
        ):  # tasks may have rows of other tasks' classes
            return len(self.experiences) * labels.outputs
        return sum(len(own) for own in labels.of_task)

    def _build(self, index: int) -> Task:
        chosen = self._chosen(index)
        last = len(self.experiences) - 1 if self.options.data == "joint" else index
        parts = [lambda t=t, rows=rows: self._train(t, rows) for t, rows in chosen.items()]
        sizes = [len(rows) for rows in chosen.values()]
        if len(parts) > 1 and any(self.experiences[task].change is not None for task in chosen):
            train: Rows = JoinedRows([part() for part in parts])
        else:
            train = joined(parts, sizes, self.device)
        tasks = None
        if len(chosen) > 1:
            numbers = torch.tensor(list(chosen), device=self.device)
            tasks = numbers.repeat_interleave(torch.tensor(sizes, device=self.device))
        classes: tuple[int, ...] | None = None
        if self.labels is not None:
            classes = tuple(sorted({output for task in chosen for output in self.labels.of_task[task]}))
        validation, test = self.part("validation", last), self.part("test", last)
        return Task(last, classes, train, validation, test, self.setting, tasks)

    def _chosen(self, index: int) -> dict[int, Tensor]:
        """Return the training rows of an item of the sequence: for each task their numbers in its data set."""
        mode = self.options.data
        if mode == "current":
            return {index: self._sampled(index)}
        tasks = range(len(self.experiences)) if mode == "joint" else range(index + 1)
        rows = {task: self._sampled(task) for task in tasks}
        return rows if mode in ("joint", "cumulative") else self._remembered(rows)

    def _shown(self, task: int) -> int:
        """Return the number of training rows of a task that the stream shows."""
        count, most = self.size("train", task), self.options.samples_per_task
        return count if most is None else min(count, most)

    def _sampled(self, task: int) -> Tensor:
        """Return the training rows of a task that the stream shows, sorted."""
        experience, count = self.experiences[task], self.options.samples_per_task
        rows = experience.indices("train")
        if rows is None:
            rows = torch.arange(experience.size("train"))
        if count is None or count >= len(rows):
            return rows
        random = Material(experience.dataset, self.seed, load=_never).generator("samples", task)
        return rows[torch.randperm(len(rows), generator=random)[:count]].sort().values

    def _remembered(self, rows: dict[int, Tensor]) -> dict[int, Tensor]:
        """Return the rows so far that are in a greedy, class-balanced memory."""
        assert self.labels is not None
        labels, places = [], []
        for task, numbers in rows.items():
            dataset = self.experiences[task].dataset
            random = Material(dataset, self.seed, load=_never).generator("arrival", task)
            order = torch.randperm(len(numbers), generator=random)
            labels.append(self.labels.map(task, self.experiences[task].y("train").cpu()[numbers[order]]))
            places += [(task, int(number)) for number in numbers[order]]
        random = Material(self.experiences[0].dataset, self.seed, load=_never).generator("greedy", len(rows))
        kept = greedy.balanced(torch.cat(labels).tolist(), self.setting.capacity(self.options.memory), random)
        found: dict[int, list[int]] = {}
        for place in kept:
            task, number = places[place]
            found.setdefault(task, []).append(number)
        return {task: torch.tensor(sorted(numbers)) for task, numbers in sorted(found.items())}

    def _train(self, task: int, rows: Tensor) -> Rows:
        experience = self.experiences[task]
        whole = len(rows) == experience.size("train")
        return self._labelled(task, experience.rows("train", None if whole else rows))

    def _labelled(self, task: int, rows: Rows) -> Rows:
        if self.labels is None or self.labels.natural(task):
            return rows
        return rows.labelled(self.labels.map(task, rows.y))


def open_stream(config: Config, dataset: Dataset, read: Callable[[DataSection], Dataset] | None = None) -> Stream:
    """Return the stream of a configuration, over a data set.

    Args:
        read: prepares another data set in the same way; by default `load_dataset`.

    Raises:
        UserError: the data set cannot be made into such a stream.
    """
    options, device = config.stream, dataset.train.y.device

    def load_other(name: str, root: str | None) -> Dataset:
        section = replace(config.data, name=name, root=root, options=config.data.options if root else {})
        return read(section) if read is not None else load_dataset(section, device, _dtype(dataset))

    seed = config.seed if options.seed is None else options.seed
    material = Material(dataset, seed, load_other)
    experiences = load_part("stream", options.name)(material, **options.options)
    together = len(experiences) if options.data == "joint" else 1
    return Stream(with_vocabulary(experiences, together), options, config.scenario, seed)


def _dtype(dataset: Dataset) -> torch.dtype:
    rows = dataset.train
    if isinstance(rows, TokenRows):
        return rows.dtype
    return rows.x.dtype if isinstance(rows, TensorRows) else rows.standardize.shift.dtype  # type: ignore[attr-defined]


def _never(name: str, root: str | None) -> Dataset:
    raise AssertionError("a stream that is built loads nothing more")
