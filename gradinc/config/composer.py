"""The YAML files of a command line, merged by Hydra, with its values set in them.

Hydra chooses and merges the YAML files of the groups. Values are set afterwards by gradinc, so that every unknown key
has the same kind of message, and a sweep over values composes its files once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from gradinc.base.errors import UserError
from gradinc.config import catalog, groups
from gradinc.config.cluster import Cluster, cluster
from gradinc.config.documents import flat
from gradinc.config.identity import as_name, strategy_label
from gradinc.config.implied import offer
from gradinc.config.names import nearest_key, shown, written
from gradinc.config.overrides import (
    Assignment,
    check_choice,
    combinations,
    latest,
    parse,
    refuse_sweeps,
    sweep_parameters,
)
from gradinc.config.parts_folder import shown_path, used_folders
from gradinc.config.placing import Chosen, UnknownOption, chosen, refuse_without_part
from gradinc.config.replaced import replaced
from gradinc.config.schema import Config
from gradinc.config.validation import validate
from gradinc.config.yaml_error import first_lines, missing_file
from gradinc.config.yaml_size import check_yaml_size

HYDRA_BASE = "1.3"

FREE_HYDRA_KEYS = ("mode", "sweeper.params", "overrides", "runtime", "job.override_dirname", "job.config_name")
"""Keys that files may set under ``hydra``, and keys that Hydra itself writes there."""

_OWN: dict[tuple[Path, tuple[str, ...]], DictConfig] = {}
"""Merged files of gradinc's own folder, by the folder and the choices: they do not change while a process runs."""


class Composer:
    """Composes documents from gradinc's configuration folder and the user's folders.

    Args:
        config_dirs: the user's folders.
    """

    def __init__(self, config_dirs: Sequence[Path] = ()) -> None:
        self.config_dirs = config_dirs
        self._folders = groups.folders(config_dirs)
        for folder in self._folders[1:]:
            for path in folder.rglob("*.yaml"):
                check_yaml_size(path)
        self._implied = groups.without_file(config_dirs)
        self._bases: dict[tuple[Path, tuple[str, ...]], DictConfig] = {}
        self._by_files: dict[tuple[str, ...], Chosen] = {}
        self._named: dict[tuple[str, ...], tuple[str, str | None]] = {}

    @property
    def has_folders(self) -> bool:
        """Whether there are folders besides gradinc's own."""
        return len(self._folders) > 1

    def keys(self) -> list[str]:
        """Return every key with a default value."""
        return [key for key, _ in flat(resolved(self.tree([])))]

    def expanded(
        self, assignments: Sequence[Assignment], *, multirun: bool
    ) -> Iterator[tuple[list[Assignment], set[str]]]:
        """Yield each run's assignments, and the keys that the sweep varies."""
        by_key = latest(assignments)
        experiment = by_key.get("experiment")
        if experiment is not None and experiment.sweep and multirun:
            # Every experiment may bring a sweep of its own.
            for (one,) in combinations([experiment], self.config_dirs):
                for each, swept in self.expanded([*assignments, one], multirun=multirun):
                    yield each, swept | {"experiment"}
            return
        hydra = self.hydra([a for a in by_key.values() if not a.sweep])
        mode = by_key.pop("hydra.mode", None)
        asked = str(mode.value if mode is not None else hydra.get("mode") or "RUN").rpartition(".")[2]
        if asked not in ("RUN", "MULTIRUN"):
            raise UserError(written("hydra.mode", asked), "unknown", "Choose from: RUN, MULTIRUN")
        if not multirun and asked == "RUN":
            refuse_sweeps(by_key.values())
            yield list(by_key.values()), set()
            return
        from_file = [parse(text, self.config_dirs) for text in sweep_parameters(hydra)]
        by_key = latest([*from_file, *by_key.values()])
        swept = {key for key, assignment in by_key.items() if assignment.sweep}
        for each in combinations(by_key.values(), self.config_dirs):
            yield each, swept

    def single(self, overrides: Iterable[str]) -> list[Assignment]:
        """Return the arguments of one run, the last of each key.

        Raises:
            UserError: they have several runs.
        """
        (only, _), *more = self.expanded([parse(text, self.config_dirs) for text in overrides], multirun=False)
        if more:
            raise UserError(" ".join(overrides), f"has {len(more) + 1} runs", "Give one value for each key")
        return only

    def config(self, assignments: Iterable[Assignment]) -> Config:
        """Compose and check one run."""
        return self.run(assignments)[0]

    def run(self, assignments: Iterable[Assignment]) -> tuple[Config, Cluster]:
        """Compose and check one run and its cluster."""
        by_key = list(latest(assignments).values())
        typed = [key for a in by_key if not a.is_choice and not a.deletes for key in a.leaves]
        if any(key.startswith("strategy.methods.") for key in typed):
            refuse_without_part(typed, self._chosen(by_key).methods, self._strategies(by_key))
        document = resolved(self.tree(by_key))
        where = document.pop("cluster", {})
        if not isinstance(where, dict):
            raise UserError(written("cluster", where), "is a section, not a value", "Give cluster.<key>=…")
        try:
            return validate(document), cluster(where)
        except catalog.UnknownPart as error:
            raise self._not_installed(error, by_key) from error
        except UnknownOption as error:
            named = [("strategy", name) for name in self._strategies(by_key)]
            named += [(a.key, str(a.value)) for a in by_key if a.key == "experiment"]
            raise error.set_by([] if error.where in typed else named, self.config_dirs) from None

    def _named_strategy(self, strategy: dict[str, Any], assignments: Sequence[Assignment]) -> str | None:
        """Return the name of a strategy by its chosen files; None if values have changed its rule or its methods."""
        choices = [a for a in assignments if a.is_choice]
        texts = tuple(a.text for a in choices)
        if texts not in self._named:
            label, names = strategy_label(_container(self.base(choices))), self._strategies(choices)
            self._named[texts] = label, as_name("+".join(names)) if names else None
        label, name = self._named[texts]
        return name if label == strategy_label(strategy) else None

    def _not_installed(self, error: catalog.UnknownPart, assignments: Iterable[Assignment]) -> UserError:
        """Return the error for a part requested by a user's file, with the file and the package in its header."""
        for choice in assignments:
            for name in check_choice(choice, self.config_dirs) if choice.is_choice and not choice.deletes else []:
                path = groups.file(choice.key, name, self.config_dirs)
                if path is None or groups.conf_folder() in path.parents or not groups.mentions(path, error.name):
                    continue
                folder = next((each for each in used_folders() if each.conf in path.parents), None)
                if folder is not None:
                    where = f"{shown_path(path)}:{groups.line_of(path, error.name)}"
                    what = f"asks for {error.kind} {error.name}, which is in no file of {folder.given}"
                    return UserError(where, what, f"Write {folder.given / catalog.place_of(error.kind, error.name)}")
                group = f"gradinc.{catalog.PLURALS[error.kind]}"
                package = groups.package_of(path) or f"the package that registers it in the group {group}"
                what = f"{path.relative_to(path.parents[1])} asks for it, and no installed package has it"
                return UserError(error.where, what, f"Install {package}")
        return error

    def tree(self, assignments: Iterable[Assignment]) -> DictConfig:
        """Compose one run as a tree, without the ``hydra`` node and with nothing resolved."""
        by_key = list(latest(assignments).values())
        tree, stale = self._merged(by_key)
        for key in stale:
            set_value(Assignment(key, None, "", deletes=True), tree)
        own = _container(tree)
        if isinstance(own["strategy"], dict) and own["strategy"].get("name") is None:
            tree["strategy"]["name"] = self._named_strategy(own, by_key)
        return tree

    def _merged(self, assignments: Sequence[Assignment]) -> tuple[DictConfig, list[str]]:
        """Return the chosen files merged with the values, and the keys in them that have been replaced."""
        files = self.base([a for a in assignments if a.is_choice])
        tree = OmegaConf.masked_copy(files, [str(key) for key in files if key != "hydra"])
        for assignment in assignments:
            if not assignment.is_choice:
                set_value(assignment, tree)
        typed = [a.key for a in assignments if not a.is_choice]
        return tree, replaced(_container(tree), typed, self.config_dirs)

    def placed(self, runs: Sequence[Sequence[Assignment]]) -> list[list[Assignment] | None]:
        """Return the assignments of each of several runs, without options of parts that the run does not have.

        Returns:
            None for a run that equals an earlier one without these options.

        Raises:
            UserError: no run has the part of an option.
        """
        found: list[list[Assignment] | None] = []
        texts: set[tuple[str, ...]] = set()
        homeless: dict[str, Sequence[Assignment]] = {}
        at_home: set[str] = set()
        for each in runs:
            kept = self.fitting(each)
            at_home.update(a.text for a in kept)
            homeless |= {a.text: each for a in each if a not in kept and a.text not in homeless}
            words = tuple(a.text for a in kept)
            found.append(None if len(kept) < len(each) and words in texts else kept)
            texts.add(words)
        for text, each in homeless.items():
            if text not in at_home:
                self.run(each)  # raises an error that names the option's part
        return found

    def fitting(self, assignments: Sequence[Assignment]) -> list[Assignment]:
        """Return the assignments without options of parts that the run does not have."""
        parts = self._chosen(assignments)
        return [a for a in assignments if a.is_choice or not all(parts.lacks(key) for key in a.leaves)]

    def _strategies(self, assignments: Iterable[Assignment]) -> list[str]:
        """Return the strategies that a run chooses, by its arguments or by its experiment."""
        choices = {a.key: a for a in assignments if a.is_choice}
        if (own := choices.get("strategy")) is not None:
            return [] if own.deletes else check_choice(own, self.config_dirs)
        for name in check_choice(choices["experiment"], self.config_dirs) if "experiment" in choices else []:
            for entry in groups.content("experiment", name, self.config_dirs).get("defaults") or []:
                if isinstance(entry, dict) and (names := entry.get("override /strategy")):
                    return [str(each) for each in (names if isinstance(names, list) else [names])]
        return []

    def _chosen(self, assignments: Iterable[Assignment]) -> Chosen:
        """Return the parts of a run: methods are chosen by files alone, the others also by values."""
        by_key = latest(assignments)
        choices = [a for a in by_key.values() if a.is_choice]
        texts = tuple(a.text for a in choices)
        if texts not in self._by_files:
            self._by_files[texts] = chosen(OmegaConf.to_container(self.base(choices)))
        return self._by_files[texts].but({key: a.value for key, a in by_key.items()})

    def hydra(self, assignments: Iterable[Assignment]) -> dict[str, Any]:
        """Return the ``hydra`` node of the chosen files, unresolved."""
        return _container(self.base([a for a in assignments if a.is_choice])["hydra"])

    def base(self, choices: Iterable[Assignment]) -> DictConfig:
        """Return the chosen files, merged.

        Raises:
            UserError: a choice is unknown, or a file is invalid.
        """
        picks = self.picks(choices)
        known, key = (self._bases if self._implied or self.has_folders else _OWN), (self._folders[0], picks)
        if key not in known:
            tree = self._compose(picks)
            if picks and self.has_folders:
                self._check_hydra(tree, picks)
            known[key] = tree
        return known[key]

    def picks(self, choices: Iterable[Assignment]) -> tuple[str, ...]:
        """Return the choices as Hydra's own overrides."""
        picks = []
        for choice in choices:
            if choice.deletes and choice.key not in ("experiment", "strategy"):
                raise UserError(f"~{choice.key}", "every run has one", f"Choose another with {choice.key}=…")
            names = [] if choice.deletes else check_choice(choice, self.config_dirs)
            if choice.key == "strategy":
                picks.append("strategy=[" + ",".join(f"'{name}'" for name in names) + "]")
            elif names:
                picks.append(f"{choice.key}='{names[0]}'")
        return tuple(picks)

    def _search_path(self) -> list[str]:
        """Return the user's folders as an override for Hydra."""
        if not self.has_folders:
            return []
        quoted = (str(folder).replace("\\", "\\\\").replace("'", "\\'") for folder in self._folders[1:])
        return ["hydra.searchpath=[" + ",".join(f"'file://{folder}'" for folder in quoted) + "]"]

    def arguments(self, assignments: Iterable[Assignment]) -> list[str]:
        """Return the assignments as arguments for Hydra's own command line, which composes the same tree."""
        by_key = list(latest(assignments).values())
        values = [f"~{a.key}" if a.deletes else f"++{a.key}={a.raw}" for a in by_key if not a.is_choice]
        values += [f"~{key}" for key in self._merged(by_key)[1]]
        offer(self._implied)
        return [*self.picks(a for a in by_key if a.is_choice), *values, *self._search_path()]

    def _compose(self, picks: tuple[str, ...]) -> DictConfig:
        overrides = [*picks, *self._search_path()]
        offer(self._implied)
        try:
            with initialize_config_dir(str(self._folders[0]), job_name="gradinc", version_base=HYDRA_BASE):
                return compose("config", overrides=overrides, return_hydra_config=True)
        except MissingConfigException as error:
            raise missing_file(error) from error
        except Exception as error:
            # Hydra and the YAML reader raise many types; each of them means that a file is wrong.
            where = " ".join(picks).replace("'", "") or "conf"
            raise UserError(where, f"cannot be composed: {first_lines(error)}", "Correct the file") from error

    def _check_hydra(self, tree: DictConfig, picks: tuple[str, ...]) -> None:
        """Refuse files that would make Hydra import or start something, which gradinc does not allow."""
        ours = dict(flat(_container(self.base([])["hydra"])))
        for key, value in flat(_container(tree["hydra"])):
            free = any(key == name or key.startswith(f"{name}.") for name in FREE_HYDRA_KEYS)
            if not free and (key not in ours or ours[key] != value):
                raise UserError(
                    f"hydra.{key}",
                    "gradinc runs the jobs itself and reads hydra.mode and hydra.sweeper.params only",
                    f"Take it out of the file that {' '.join(picks)} chooses".replace("'", ""),
                )


def set_value(assignment: Assignment, tree: DictConfig) -> None:
    key, value = assignment.key, assignment.value
    try:
        if not assignment.deletes:
            OmegaConf.update(tree, key, value, merge=True, force_add=True)
            return
        parent, _, last = key.rpartition(".")
        node = OmegaConf.select(tree, parent) if parent else tree
        present = OmegaConf.select(tree, key)
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        raise UserError(written(key, value), first_lines(error), "See gradinc train --help") from error
    if not isinstance(node, DictConfig) or last not in node:
        near = nearest_key(key, (found for found, _ in flat(_container(tree)) if "hydra" not in found))
        raise UserError(f"~{key}", "no such key", f"Did you mean ~{near}?" if near else "See gradinc train --help")
    if value is not None and present != value:
        raise UserError(f"~{key}={shown(value)}", f"its value is {shown(present)}", f"Write ~{key}")
    OmegaConf.set_struct(node, False)
    del node[last]


def _container(node: DictConfig) -> dict[str, Any]:
    """Return a node as nested dicts and lists, unresolved."""
    found = OmegaConf.to_container(node)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def resolved(tree: DictConfig) -> dict[str, Any]:
    """Return the resolved document of a composed tree."""
    try:
        document = OmegaConf.to_container(tree, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(error.full_key or "the config", "is missing", f"Give {error.full_key}=…") from error
    except OmegaConfBaseException as error:
        where = error.full_key or "the config"
        raise UserError(where, first_lines(error), "Correct the ${…}, or give a value") from error
    assert isinstance(document, dict)
    return {str(key): value for key, value in document.items()}
