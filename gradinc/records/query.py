"""Selection and order of runs: ``model.name=cnn``, ``optimizer.lr<0.1``, ``status=finished``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gradinc.base.errors import UserError
from gradinc.config import groups
from gradinc.config.identity import strategy_name
from gradinc.config.names import choose, nearest_key, shown
from gradinc.records.keys import MISSING, STRATEGY, chosen_settings, settings
from gradinc.records.recorded import RecordedRun
from gradinc.records.results import value_of
from gradinc.records.schemas import ENDED

_CONDITION = re.compile(r"([^=<>!]+)(<=|>=|!=|<|>|=)(.*)", re.DOTALL)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

FACTS: dict[str, Callable[[RecordedRun], float | str | None]] = {
    "run": lambda run: run.name,
    "status": lambda run: run.status,
    "protocol": lambda run: run.protocol,
    "seal": lambda run: _seal(run),
    "test": lambda run: run.score,
    "loss": lambda run: run.number("result", "test", "loss"),
    "samples": lambda run: run.number("result", "samples"),
    "updates": lambda run: run.number("result", "steps"),
    "rows": lambda run: run.number("result", "rows"),
    "passes": lambda run: run.number("result", "passes"),
    "seconds": lambda run: run.number("result", "seconds"),
    "written": lambda run: run.last_written,
}
"""Facts about a run that conditions can use besides the keys of its config."""

WHAT = f"One of {', '.join(FACTS)}, or a key of a run's config, such as model.name=cnn or strategy=er"
"""The possible keys of a condition."""


@dataclass(frozen=True)
class Condition:
    """One condition on runs, as written.

    Attributes:
        strategies: the values of the strategies that it names, by their names.
    """

    key: str
    sign: str
    wanted: str
    strategies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def alternatives(self) -> list[str]:
        """Return its values, any of which is enough."""
        return [self.wanted] if self.wanted.startswith("[") else self.wanted.split(",")

    def holds(self, run: RecordedRun) -> bool:
        """Return whether a run meets it. A missing key meets only ``!=``."""
        value = lookup(run, self.key)
        if self.sign in ("=", "!="):
            values = (value, shown(run.value("config", *self.key.split("."))))  # a collection's optimizer has two names
            found = any(_equal(v, one) or self._is_strategy(run, one) for one in self.alternatives for v in values)
            return found == (self.sign == "=")
        number = _number(value)
        return number is not None and _COMPARE[self.sign](number, float(self.wanted))

    def _is_strategy(self, run: RecordedRun, name: str) -> bool:
        """Return whether a run's strategy is that of a file, which may have been chosen by another name."""
        wanted = self.strategies.get(name)
        if wanted is None or not run.config:
            return False
        if (chosen := strategy_name(run.config)) in self.strategies:
            return self.strategies[chosen] == wanted
        own = chosen_settings(run.config)
        return all(own.get(key) == value for key, value in wanted.items())


def is_condition(argument: str) -> bool:
    """Return whether an argument has the form of a condition."""
    return _CONDITION.fullmatch(argument) is not None


def conditions(arguments: Sequence[str], runs: Sequence[RecordedRun]) -> list[Condition]:
    """Read conditions.

    Raises:
        UserError: an argument is not a condition, no run has its key, or it compares with text instead of a number.
    """
    return [_condition(argument, runs) for argument in arguments]


def _condition(argument: str, runs: Sequence[RecordedRun]) -> Condition:
    parts = _CONDITION.fullmatch(argument)
    if parts is None:
        raise UserError(argument, "is not a condition", "Write key=value, as in model.name=cnn or 'optimizer.lr<0.1'")
    key, sign, wanted = parts.groups()
    key = known_key(key.strip(), runs)
    if sign in _COMPARE and _number(wanted) is None:
        raise UserError(argument, f"{wanted or 'nothing'} is not a number", f"Write '{key}{sign}0.1'")
    condition = Condition(key, sign, wanted)
    return condition if key != STRATEGY or not runs else replace(condition, strategies=_strategies(condition, runs))


def _strategies(condition: Condition, runs: Sequence[RecordedRun]) -> dict[str, dict[str, str]]:
    """Return the values of the strategies in a condition: a run's record has no names of files, only their values.

    Raises:
        UserError: no strategy and no run has this name.
    """
    from gradinc.config.compose import load_config  # Hydra takes a moment to import

    labels = {str(lookup(run, STRATEGY)) for run in runs}
    plain = chosen_settings(load_config(["strategy=[]"]).document)
    found = {}
    files = groups.names(STRATEGY)
    for name in dict.fromkeys([*condition.alternatives, *(label for label in labels if label in files)]):
        try:
            said = chosen_settings(load_config([f"strategy={name}"]).document)
        except UserError as error:
            if name in (*labels, "null", MISSING):
                continue
            names = sorted({*labels, *files})
            raise UserError(
                f"strategy={name}", "no run has it, and no strategy has this name", choose(name, names)
            ) from error
        found[name] = {key: value for key, value in said.items() if key == STRATEGY or plain.get(key) != value}
    return found


def known_key(key: str, runs: Sequence[RecordedRun]) -> str:
    """Return a key for a condition; ``model`` means ``model.name``.

    Raises:
        UserError: no run has it.
    """
    keys = {*FACTS, *(name for run in runs for name in settings(run))}
    if not runs or key in keys or any(value_of(run, key) is not None for run in runs):
        return key
    if f"{key}.name" in keys:
        return f"{key}.name"
    near = nearest_key(key, {*keys, *(name.removesuffix(".name") for name in keys)})
    raise UserError(key, "no run has this key", f"Did you mean {near}?" if near else WHAT)


def lookup(run: RecordedRun, key: str) -> float | str | None:
    """Return a fact about a run, or the value of a key of its config, or None."""
    if key in FACTS:
        return FACTS[key](run)
    value = settings(run).get(key)
    return value if value is not None else value_of(run, key)


def ordered(runs: Sequence[RecordedRun], key: str, *, reverse: bool = False) -> list[RecordedRun]:
    """Sort runs by a fact or a key: numbers by size, then text alphabetically, and runs without a value last."""
    found = [(lookup(run, key), run) for run in runs]
    numbers = [(number, run) for value, run in found if (number := _number(value)) is not None]
    texts = [(str(value), run) for value, run in found if value not in (None, MISSING) and _number(value) is None]
    rest = [run for value, run in found if value in (None, MISSING)]
    numbers.sort(key=lambda pair: (pair[0], pair[1].name), reverse=reverse)
    texts.sort(key=lambda pair: (pair[0], pair[1].name), reverse=reverse)
    return [*(run for _, run in numbers), *(run for _, run in texts), *rest]


def _seal(run: RecordedRun) -> str | None:
    """Return the state of the seal: ``whole``, ``unsealed``, or the damaged file; None for a run that has not ended."""
    if run.damage is not None:
        return run.damage[0]
    return None if run.status not in ENDED else "unsealed" if run.unsealed else "whole"


def _equal(value: float | str | None, wanted: str) -> bool:
    if value is None:
        return wanted in ("null", MISSING)
    mine, other = _number(value), _number(wanted)
    return str(value) == wanted if mine is None or other is None else mine == other


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if number == number else None
