"""The search space and its data: a YAML file, checked before anything is created."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gradinc.base.errors import UserError
from gradinc.config.compose import Job
from gradinc.config.composer import Composer
from gradinc.config.names import shown
from gradinc.config.placing import is_choice
from gradinc.config.schema import Config
from gradinc.config.yaml_error import not_yaml
from gradinc.config.yaml_size import check_yaml_size

if TYPE_CHECKING:
    from optuna import Trial


class Range(BaseModel):
    """Numbers from `low` to `high`; whole ones if both are."""

    model_config = ConfigDict(extra="forbid", strict=True)

    low: int | float
    high: int | float
    log: bool = False

    def suggest(self, trial: Trial, key: str) -> int | float:
        """Return the next number to try."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, log=self.log)
        return self.tried(trial.suggest_float(key, self.low, self.high, log=self.log))

    def tried(self, number: float) -> int | float:
        """Return a number as it is tried: with four digits, which people can read and type."""
        return number if isinstance(number, int) else min(max(float(f"{number:.4g}"), self.low), self.high)

    def ends(self) -> list[int | float]:
        """Return the least and the greatest value."""
        return [self.low, self.high]


Mode = Literal["validation", "first-tasks", "other-data"]


class Space(BaseModel):
    """A search space.

    Attributes:
        space: for each key a range, or a list of values to choose from.
        base: the other arguments of every run.
        mode: data that trials are scored on, never test rows. ``validation``: validation rows of the same set.
            ``first-tasks``: of the first `tasks` tasks of a stream, which the metrics of the result leave out
            (Chaudhry et al. 2019, arXiv 1812.00420). ``other-data``: of runs with the arguments `other`, on data
            that are not in the result.
        trials: number of trials in all.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    space: Annotated[dict[str, Range | list[int | float | str | bool]], Field(min_length=1)]
    base: list[str] = []
    mode: Mode = "validation"
    tasks: Annotated[int, Field(ge=1)] = 2
    other: list[str] = []
    trials: Annotated[int, Field(ge=1)] = 20

    def values(
        self, trial: Trial, fitting: Callable[[dict[str, Any]], Collection[str]] | None = None
    ) -> dict[str, Any]:
        """Return the next values to try.

        Args:
            fitting: returns the keys whose parts a run has, if parts are searched too; options of other
                parts are not tried.
        """
        found = {key: self._suggest(trial, key) for key in self._deciding()}
        keys = self.space if fitting is None or not found else fitting(found)
        return {key: found[key] if key in found else self._suggest(trial, key) for key in self.space if key in keys}

    def _suggest(self, trial: Trial, key: str) -> Any:
        item = self.space[key]
        return item.suggest(trial, key) if isinstance(item, Range) else trial.suggest_categorical(key, item)

    def _deciding(self) -> list[str]:
        """Return the keys that choose parts, and so decide which options exist."""
        return [key for key, item in self.space.items() if is_choice(key) and not isinstance(item, Range)]

    def tried(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the value that is tried for a number that the search stores with all its digits."""
        items = ((key, self.space.get(key), value) for key, value in params.items())
        return {key: item.tried(value) if isinstance(item, Range) else value for key, item, value in items}

    def arguments(self, values: Mapping[str, Any]) -> list[str]:
        """Return a trial's arguments."""
        other = self.other if self.mode == "other-data" else []
        values_given = (f"{key}={shown(value)}" for key, value in values.items())
        return [*self.base, *other, *values_given, "evaluate.rows=validation"]

    def judged_by(self) -> str:
        """Return the data that trials are scored on, in words."""
        if self.mode == "first-tasks":
            return f"validation rows of the first {self.tasks} tasks (which the final run does not score)"
        return "the validation rows" if self.mode == "validation" else f"other data: {' '.join(self.other)}"

    def corners(self) -> Iterator[dict[str, Any]]:
        """Yield values that contain every end of every range, and every choice, once with each choice of parts."""
        ends = {key: item.ends() if isinstance(item, Range) else item for key, item in self.space.items()}
        first = {key: values[0] for key, values in ends.items()}
        deciding = self._deciding()
        for chosen in itertools.product(*(ends[key] for key in deciding)):
            here = {**first, **dict(zip(deciding, chosen, strict=True))}
            yield here
            yield from ({**here, key: value} for key in ends if key not in deciding for value in ends[key][1:])


def read_space(path: Path, more: Sequence[str], config_dirs: Sequence[Path]) -> tuple[Space, list[Job]]:
    """Read a search space and check every end of it.

    Args:
        path: the YAML file.
        more: further arguments for every run.
        config_dirs: the user's configuration folders.

    Returns:
        The space, and runs that have every end of every range and every choice.

    Raises:
        UserError: the file or some of its values are invalid.
    """
    from omegaconf import OmegaConf

    if not path.exists():
        raise UserError(str(path), "no such file", "Give a YAML file with a section space")
    check_yaml_size(path)
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:  # errors of many types, all of which mean that the file is not YAML
        raise not_yaml(path, error) from error
    try:
        space = Space.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"] if "[" not in str(part))
        raise UserError(f"{path}: {where or 'space'}", problem["msg"], "See gradinc tune --help") from error
    for key, item in space.space.items():
        if item == []:
            raise UserError(f"{path}: space.{key}", "is a list without values", "Give at least one")
    space = space.model_copy(update={"base": [*space.base, *more]})
    composer = Composer(config_dirs)
    runs = [composer.single(space.arguments(values)) for values in space.corners()]
    jobs = [
        Job(tuple(a.text for a in each if a.key in space.space), composer.config(each))
        for each in composer.placed(runs)
        if each is not None
    ]
    _check_mode(path, space, jobs[0].config, composer)
    return space, jobs


def _check_mode(path: Path, space: Space, config: Config, composer: Composer) -> None:
    """Refuse a mode that scores trials on the result's own data."""
    where = f"{path}: mode={space.mode}"
    for key, item in space.space.items():
        if isinstance(item, Range) and not item.low < item.high:
            raise UserError(f"{path}: space.{key}", "low must be below high", "Correct the file")
        if key.split(".")[0] in ("data", "stream", "scenario", "seed", "name", "output", "experiment"):
            raise UserError(f"{path}: space.{key}", "decides what the result is measured on", "Search other keys")
    sequence = config.stream.name != "iid"
    if space.mode == "validation" and sequence:
        what = "a stream's later tasks would decide about the values that they are learned with"
        raise UserError(where, what, "Use mode: first-tasks or other-data")
    if space.mode == "first-tasks" and not sequence:
        raise UserError(where, f"stream={config.stream.name} has one task", "Use mode: validation")
    if space.mode == "first-tasks" and config.stream.data == "joint":
        raise UserError(where, "stream.data=joint trains on all tasks at once", "Use mode: other-data")
    if space.mode == "other-data":
        if not any(text.startswith("data=") for text in space.other):
            raise UserError(where, "needs the other data", "Give other: [data=…]")
        result = composer.config(composer.fitting(composer.single(space.base)))
        own, theirs = ((each.data.name, each.data.root, each.data.options) for each in (result, config))
        if own == theirs:
            raise UserError(where, f"data={own[0]} is what the result is measured on", "Give other: [data=…]")


@dataclass(frozen=True)
class Judged:
    """The state of a trial: the number of its evaluations, and the last score."""

    looks: int
    score: float


def judged(space: Space, lines: Sequence[Mapping[str, Any]], *, sequence: bool, joint: bool = False) -> Judged | None:
    """Return the score in the log of a run that uses validation rows only.

    Args:
        space: the search.
        lines: ``metrics.jsonl``.
        sequence: whether the run is on a stream of tasks.
        joint: whether it trains on all tasks at once.
    """
    if sequence:
        rows = [line["row"] for line in lines if line.get("row")][1:]  # the first score is from before training
        rows = rows[: space.tasks] if space.mode == "first-tasks" else rows
        seen = [row if joint else row[: task + 1] for task, row in enumerate(rows)]
        means = [sum(row) / len(row) for row in seen]
        return Judged(len(means), means[-1]) if means else None
    scores = [_score(line["validation"]) for line in lines if line.get("validation")]
    return Judged(len(scores), scores[-1]) if scores else None


def _score(measures: Mapping[str, float]) -> float:
    return measures["accuracy"] if "accuracy" in measures else -measures["mse"]
