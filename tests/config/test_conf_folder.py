"""Every YAML file in conf composes to a config that is right, and says of its part what the part's source says."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from gradinc.base.errors import UserError
from gradinc.cli.train_help import train_help
from gradinc.config import catalog, groups
from gradinc.config.check import as_plain
from gradinc.config.compose import compose_jobs, load_config
from gradinc.config.schema import (
    PARTS,
    PLAIN,
    STRATEGY_KEYS,
    TOP_KEYS,
    Config,
    StrategySection,
    WindowSection,
    common_keys,
)

CONF = groups.conf_folder()
CHOICES = [(group, name) for group in groups.GROUPS for name in groups.names(group)]


def test_every_choice_composes_and_is_valid() -> None:
    wrong = {}
    for group, name in CHOICES:
        try:
            assert all(job.config.document for job in compose_jobs([f"{group}={name}"])), f"{group}={name}"
        except UserError as error:
            wrong[f"{group}={name}"] = str(error)
    assert wrong == {}


def test_a_group_file_holds_its_part_s_options_all_of_them() -> None:
    found, wanted = {}, {}
    for group, name in CHOICES:
        if group in catalog.KINDS:
            content = groups.content(group, name)
            # A data set or schedule may set a key that all of its kind have.
            common = set(common_keys(PARTS[group])) if group in PARTS else {"name"}
            found[group, name] = set(content) - common - {"defaults"}  # a data set may choose its optimizer
            wanted[group, name] = set(catalog.part(group, content["name"]).parameters)
    assert len(found) > 30
    assert found == wanted


def test_a_strategy_file_names_every_option_of_its_methods() -> None:
    found, wanted = {}, {}
    for name in groups.names("strategy"):
        content = groups.content("strategy", name)
        # A file for the whole tree may bring what its idea needs elsewhere, such as a learning rate.
        content = content.get("strategy", {} if "stream" in content else content)
        assert set(content) <= {"window", "methods"}, name
        for method, values in (content.get("methods") or {}).items():
            found[name, method] = set(values or {})
            wanted[name, method] = set(catalog.part("method", method).parameters)
    assert len(found) > 25
    assert found == wanted


def test_every_file_says_what_it_is_in_one_line() -> None:
    choices = {(group, choice.name): choice for group in groups.GROUPS for choice in groups.choices(group)}
    assert choices.keys() == set(CHOICES)
    assert {key: choice.summary for key, choice in choices.items() if not 0 < len(choice.summary) <= 100} == {}
    papers = {key: choice.paper for key, choice in choices.items() if choice.paper}
    assert {key: paper for key, paper in papers.items() if not re.search(r"\d{4}", paper)} == {}, "a paper has a year"


def test_a_file_says_the_same_as_the_part_of_its_name() -> None:
    for kind in catalog.KINDS:
        group = "strategy" if kind in ("method", "rule") else kind
        files = {choice.name: choice for choice in groups.choices(group)} if group in groups.GROUPS else {}
        both = [part for part in catalog.parts(kind) if part.name in files]
        assert both or group not in groups.GROUPS, "a due, a metric, an augmentation and a tracker have no file"
        for part in both:
            choice = files[part.name]
            assert (choice.summary, choice.paper) == (part.summary, part.paper), f"{kind} {part.name}"


def test_every_method_and_rule_has_a_strategy_that_uses_it() -> None:
    used: dict[str, set[str]] = {"method": set(), "rule": {"mean", "sum"}}
    for name in groups.names("strategy"):
        strategy = load_config([f"strategy={name}"]).strategy
        used["method"] |= set(strategy.methods)
        used["rule"].add(strategy.window.rule)
    for kind, names in used.items():
        assert {part.name for part in catalog.parts(kind)} <= names


def test_the_top_file_holds_every_key_with_the_default_of_the_schema() -> None:
    content = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"))
    assert isinstance(content, dict)
    defaults: dict[str, Any] = {f.name: as_plain(f.default) for f in fields(Config) if f.name in TOP_KEYS}
    assert {name: content[name] for name in TOP_KEYS} == defaults
    for kind, section in {**PLAIN, **{kind: PARTS[kind] for kind in ("data", "stream", "schedule")}}.items():
        keys = [key for key in common_keys(section) if key != "name"]
        assert content[kind] == {f.name: as_plain(f.default) for f in fields(section) if f.name in keys}
    window = {key: getattr(WindowSection(), key) for key in common_keys(WindowSection)}
    others = {f.name: f.default for f in fields(StrategySection) if f.name in STRATEGY_KEYS}
    assert content["strategy"] == {"window": window, **others, "methods": {}}


def test_every_key_of_the_top_file_has_its_line_of_help() -> None:
    lines = dict(re.findall(r"^  ([a-z_.]+)=\S* {2,}(\S.*)$", train_help(), re.MULTILINE))
    for name in [*TOP_KEYS, *(f"{kind}.{key}" for kind, section in PLAIN.items() for key in common_keys(section))]:
        assert lines[name], name


def test_a_data_set_chooses_its_tasks_and_its_optimizer_and_the_command_line_chooses_others() -> None:
    config = load_config(["data=clinc150", "stream=split"])
    assert (config.stream.options["tasks"], config.optimizer.name, config.optimizer.options["lr"]) == (
        10,
        "adamw",
        0.002,
    )
    config = load_config(["data=clinc150", "stream=split", "stream.tasks=5", "optimizer=sgd"])
    assert (config.stream.options["tasks"], config.optimizer.name) == (5, "sgd")
    assert config.optimizer.options == load_config(["optimizer=sgd"]).optimizer.options, "the rate is of AdamW alone"
    assert load_config(["data=fsdd", "stream=split"]).stream.options["tasks"] == 5
    assert load_config(["data=clinc150"]).stream.options == {}


def test_defaults_of_two_choices_name_choices_that_exist() -> None:
    """A wrong name would be ignored: Hydra reads these files only if there are any."""
    for path in [*CONF.glob("data_*/*.yaml")]:
        _, group = path.parent.name.split("_")
        data, name = path.stem.split("-")
        assert data in groups.names("data"), path
        assert name in groups.names(group), path
        used = load_config([f"data={data}", f"{group}={name}"])
        own = OmegaConf.to_container(OmegaConf.load(path))
        assert isinstance(own, dict)
        assert own.items() <= {**used.document[group]}.items(), path
    assert {path.parent.name for path in CONF.glob("data_*/*.yaml")} == {"data_stream", "data_optimizer"}


def test_gradinc_s_own_files_switch_hydra_s_output_off() -> None:
    content = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))
    assert content["hydra"]["output_subdir"] is None
    assert content["hydra"]["job"]["chdir"] is False
    assert {"override hydra/job_logging": "none"} in content["defaults"]


def test_the_article_s_linear_model_is_the_article_s() -> None:
    config = load_config(["experiment=article_linear"])
    assert (config.data.name, config.model.name, config.data.batch_size) == ("diabetes", "linear", 32)
    assert (config.optimizer.name, config.budget.epochs) == ("sgd", 10)
    assert config.optimizer.options == {"lr": 0.01, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0}
    assert (config.strategy.window.size, config.strategy.methods, config.schedule.name) == (1, {}, "constant")


@pytest.mark.parametrize("group", ["strategy", "table"])
def test_a_file_whose_name_is_not_utf_8_is_named(group: str, tmp_path: Path) -> None:
    (tmp_path / group).mkdir()
    (tmp_path / group / "a\udce9.yaml").write_text("# Own\n")
    with pytest.raises(UserError, match="the name of this file is not UTF-8"):
        groups.names(group, [tmp_path])
