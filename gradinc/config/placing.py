"""Options without their part in a run, such as ``strategy.methods.er.memory`` for a strategy without er.

An option never adds its part to a run; only a choice does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradinc.base.errors import UserError
from gradinc.config import catalog, groups
from gradinc.config.documents import mapping
from gradinc.config.schema import PARTS, WindowSection, common_keys


class UnknownOption(UserError):
    """A chosen part does not have an option that other parts of its kind have."""

    def set_by(self, choices: Iterable[tuple[str, str]], config_dirs: Sequence[Path]) -> UserError:
        """Return the error with the choice whose file sets the option; the error itself if no file does.

        Args:
            choices: groups and names of the chosen files.
            config_dirs: the user's folders.
        """
        section, _, option = self.where.partition(".")
        for group, name in choices:
            said = groups.content(group, name, config_dirs).get(section)
            if isinstance(said, Mapping) and option in said:
                what = f"{group}={name} sets it, and {self.what}"
                return UserError(self.where, what, f"{self.fix}; ~{self.where} leaves it out")
        return self


@dataclass(frozen=True)
class Chosen:
    """The parts of a run by name.

    Attributes:
        parts: for each kind with one part in every run, its name; also for ``rule`` and ``due``.
        methods: the methods of its strategy.
    """

    parts: Mapping[str, str]
    methods: Collection[str]

    def but(self, values: Mapping[str, Any]) -> Chosen:
        """Return the parts after choices by values such as ``strategy.window.rule=median``."""
        keys = _choosing()
        return replace(self, parts={kind: str(values.get(keys[kind], name)) for kind, name in self.parts.items()})

    def lacks(self, key: str) -> bool:
        """Return whether a key is an option of an existing part that is not in this run."""
        owners = _owners(key)
        if owners is None:
            return False
        kind, names = owners
        if kind == "method":
            return not names <= set(self.methods)
        if kind == "window":
            return not names & {self.parts["rule"], self.parts["due"]}
        return self.parts[kind] not in names and self.parts[kind] in _names(kind)


def is_choice(key: str) -> bool:
    """Return whether a key chooses parts or files, and so decides which options exist."""
    return key in (*groups.GROUPS, *_choosing().values())


def chosen(document: Any) -> Chosen:
    """Return the parts that a composed document names, as far as its sections are valid."""
    window = mapping(mapping(document, "strategy"), "window", "strategy.")
    names = {kind: mapping(document, kind).get("name") for kind in PARTS}
    names |= {kind: window.get(kind, getattr(WindowSection, kind)) for kind in ("rule", "due")}
    methods = mapping(mapping(document, "strategy"), "methods", "strategy.")
    return Chosen({kind: str(name) for kind, name in names.items()}, list(methods))


def refuse_without_part(keys: Iterable[str], methods: Collection[str], strategies: Sequence[str]) -> None:
    """Refuse options of methods that a run's strategy does not have.

    Args:
        keys: the keys given on the command line.
        methods: the strategy's methods.
        strategies: the names of its files.

    Raises:
        UserError: a key is such an option.
    """
    for key in keys:
        owners = None if "_target_" in key.split(".") else _owners(key)  # import paths have their own error
        if owners is not None and owners[0] == "method" and not owners[1] <= set(methods):
            (name,) = owners[1]
            named = f"strategy={_listed(strategies)}" if strategies else "the strategy"
            kept = [each for each in strategies if any(groups.content("strategy", each).values())]  # not sgd
            brings = _strategy_of(name)
            fix = f"Write strategy={_listed([*kept, brings])}" if brings else f"Choose a strategy that has {name}"
            raise UserError(key, f"{named} has no method {name}, and an option does not add one", fix)


def _choosing() -> dict[str, str]:
    """Return the keys whose values choose parts, by the kind of part."""
    return {kind: f"{kind}.name" for kind in PARTS} | {kind: f"strategy.window.{kind}" for kind in ("rule", "due")}


def _owners(key: str) -> tuple[str, frozenset[str]] | None:
    """Return the kind and the names of the parts with this option; None for other keys and for common options."""
    match key.split("."):
        case ["strategy", "methods", name, *_] if name in _names("method"):
            return "method", frozenset({name})
        case ["strategy", "window", name, *_] if name not in common_keys(WindowSection):
            return ("window", frozenset({name})) if name in _names("rule") | _names("due") else None
        case [kind, option, *_] if kind in PARTS and option not in common_keys(PARTS[kind]):
            names = frozenset(part.name for part in catalog.parts(kind) if option in part.parameters)
            return (kind, names) if names and names != _names(kind) else None
    return None


def _names(kind: str) -> frozenset[str]:
    return frozenset(part.name for part in catalog.parts(kind))


def _strategy_of(method: str) -> str | None:
    """Return a strategy with only this method."""
    names = sorted(groups.names("strategy"), key=lambda name: name != method)
    return next((name for name in names if list(groups.methods(groups.content("strategy", name))) == [method]), None)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"[{','.join(names)}]"
