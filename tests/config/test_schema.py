"""A document is a config, or one line that says what is wrong with it."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge

from gradinc.base.errors import UserError
from gradinc.config.check import described, part_options, value
from gradinc.config.compose import load_config
from gradinc.config.validation import validate


def complaint(document: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        validate(document)
    return str(caught.value)


def test_the_config_has_a_part_s_options_beside_the_keys_that_all_have(document: Any) -> None:
    config = validate(document(optimizer__lr=1, data__augment=["flip"], strategy__window__size=4))
    assert (config.model.name, config.model.options["width"]) == ("cnn", 32)
    assert config.optimizer.options["lr"] == 1.0
    assert isinstance(config.optimizer.options["lr"], float)
    assert (config.data.batch_size, config.data.augment) == (32, ("flip",))
    assert (config.strategy.window.size, config.strategy.window.rule, config.strategy.window.rule_options) == (
        4,
        "mean",
        {},
    )
    assert (config.budget.epochs, config.checkpoint.seconds, config.seed) == ("auto", 30.0, 0)


def test_a_config_cannot_be_changed(document: Any) -> None:
    config = validate(document())
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1  # type: ignore[misc]


def test_a_document_gives_its_config_back(document: Any) -> None:
    given = document(strategy__methods={"clip": {}, "noise": {}}, data__augment=["crop"], budget__seconds=math.inf)
    config = validate(given)
    again = validate(config.document)
    assert again == config
    assert again.document == config.document


def test_a_document_is_plain_data_with_its_keys_in_one_order(document: Any) -> None:
    turned = dict(reversed(document(data__augment=["flip"]).items()))
    turned["model"] = dict(reversed(turned["model"].items()))
    config = validate(turned)
    assert list(config.document["model"]) == list(validate(document()).document["model"])
    assert list(config.document)[:2] == ["seed", "device"]
    assert config.document["data"]["augment"] == ["flip"]


def test_numbers_are_one_number_however_they_are_written(document: Any) -> None:
    assert validate(document(optimizer__lr=1)).document == validate(document(optimizer__lr=1.0)).document
    assert validate(document(optimizer__lr=1)).document != validate(document(optimizer__lr=1.5)).document


def test_an_option_that_is_left_out_has_the_default_of_the_signature(document: Any) -> None:
    given = document()
    del given["model"]["width"]
    assert validate(given).model.options["width"] == 32


@pytest.mark.parametrize(
    ("key", "wrong", "line"),
    [
        ("seed", "many", "seed=many: need a whole number ≥ 0 and < 9223372036854775808."),
        ("seed", True, "seed=true: need a whole number"),
        ("seed", {"x": 1}, "seed={x:1}: need a whole number"),
        ("data__batch_size", "many", "data.batch_size=many: need a whole number ≥ 1."),
        ("data__batch_size", 2.0, "data.batch_size=2.0: need a whole number ≥ 1."),
        ("data__batch_size", None, "data.batch_size=null: need a whole number ≥ 1."),
        ("data__augment", "flip", "data.augment=flip: need a list of texts."),
        (
            "data__augment",
            ["flip", "x"],
            "data.augment=[flip,x]: unknown. Choose from: crop, flip; a part of your own needs --with FOLDER.",
        ),
        ("data__validation", 1.0, "data.validation=1.0: need a number ≥ 0 and < 1."),
        ("data__normalize", "z", "data.normalize=z: need channel or unit or none or [mean,deviation]."),
        ("optimizer__lr", "0.1", "optimizer.lr=0.1: need a number > 0, and this is text. Leave out the quotes."),
        ("optimizer__lr", -0.1, "optimizer.lr=-0.1: need a number > 0."),
        ("optimizer__lr", True, "optimizer.lr=true: need a number > 0."),
        ("optimizer__lr", math.nan, "optimizer.lr=nan: need a number > 0."),
        ("optimizer__lr", [1.0], "optimizer.lr=[1.0]: need a number > 0."),
        ("optimizer__nesterov", 1, "optimizer.nesterov=1: unknown. Choose from: true, false."),
        ("checkpoint__seconds", math.nan, "checkpoint.seconds=nan: need a number ≥ 0."),
        ("model__activation", "rleu", "model.activation=rleu: unknown. Did you mean relu? Choose from: relu, "),
        ("budget__accuracy", 97, "budget.accuracy=97: need a number ≥ 0 and ≤ 1 or null."),
        ("threads", 0, "threads=0: need auto or a whole number ≥ 1 and ≤ 4096."),
        ("device", "gpu", "device=gpu: need auto, cpu, cuda or cuda:N."),
        ("device", "cuda:x", "device=cuda:x: need auto, cpu, cuda or cuda:N."),
        ("name", 3, "name=3: need letters, digits"),
        ("output", "", "output=: need a path."),
        ("output", "a\x00b", "output=a\x00b: need a path."),
        (
            "strategy__window__rule",
            "maen",
            "strategy.window.rule=maen: unknown. Did you mean mean? Choose from: mean, ",
        ),
        ("strategy__methods__slip", {}, "strategy.methods.slip: unknown. Did you mean clip? Choose from: clip, "),
        ("model__name", "mpl", "model=mpl: unknown. Did you mean mlp? Choose from: mlp, "),
        ("model__name", None, "model: is not chosen. Give model=…, one of "),
        ("model__name", 3, "model=3: unknown. Choose from: "),
        ("model", "cnn", "model=cnn: is a section, not a value. Give model.<key>=…."),
        ("budget", 3, "budget=3: is a section, not a value. Give budget.<key>=…."),
        ("strategy__methods", ["clip"], "strategy.methods=[clip]: is a section, not a value."),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(document: Any, key: str, wrong: Any, line: str) -> None:
    assert complaint(document(**{key: wrong})).startswith(line)


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("lr", "lr: no such key. Did you mean optimizer.lr?"),
        ("optm__lr", "optm.lr: no such key. Did you mean optimizer.lr?"),
        ("model__widht", "model.widht: no such key. Did you mean model.width?"),
        ("batch_size", "batch_size: no such key. Did you mean data.batch_size?"),
        ("strategy__window__sise", "strategy.window.sise: no such key. Did you mean strategy.window.size?"),
        ("strategy__widow__size", "strategy.widow.size: no such key. Did you mean strategy.window.size?"),
        ("budget__epoch", "budget.epoch: no such key. Did you mean budget.epochs?"),
        ("model__patch", "model.patch: model=cnn has no such option. It is one of model=vit."),
        (
            "strategy__window__trimmed__trim",
            "strategy.window.trimmed.trim: is for rule trimmed, and strategy.window.",
        ),
        ("zzz", "zzz: no such key. See gradinc train --help."),
    ],
)
def test_an_unknown_key_is_named_with_the_one_that_was_meant(document: Any, key: str, line: str) -> None:
    assert complaint(document(**{key: 1})).startswith(line)


def test_a_rule_s_options_stand_under_its_name(document: Any) -> None:
    given = document(strategy__window__rule="trimmed", strategy__window__trimmed__trim=0.125)
    window = validate(given).strategy.window
    assert window.rule_options == {**window.rule_options, "trim": 0.125}
    assert validate(given).document["strategy"]["window"]["trimmed"] == window.rule_options


def test_an_option_without_a_default_must_be_given(document: Any) -> None:
    given = document()
    del given["optimizer"]["lr"]
    assert complaint(given) == "optimizer.lr: is missing. Give optimizer.lr=…, a number > 0."


@pytest.mark.parametrize(
    "name", ["../x", "/x", ".x", "-x", "a/b", "a b", "a\nb", "a\n", "é", "", "a" * 101, "[red]x", "\x1b]0;x"]
)
def test_a_run_name_stays_in_its_directory_and_off_the_terminal(document: Any, name: str) -> None:
    assert "need letters, digits" in complaint(document(name=name))


@pytest.mark.parametrize("name", ["a", "0", "a.b_c=d,e+f-g", "a" * 100])
def test_a_run_name_of_harmless_letters_is_taken(document: Any, name: str) -> None:
    assert validate(document(name=name)).name == name


@pytest.mark.parametrize("end", [None, math.inf])
def test_a_budget_without_an_end_is_refused(document: Any, end: float | None) -> None:
    assert complaint(document(budget__epochs=None, budget__seconds=end)).startswith("budget: every limit is null")
    assert validate(document(budget__epochs=None, budget__seconds=1)).budget.seconds == 1.0


def test_an_accuracy_to_reach_needs_rows_to_measure_it_on(document: Any) -> None:
    line = complaint(document(budget__accuracy=0.9, data__validation=0))
    assert line.startswith("budget.accuracy=0.9: needs validation rows")
    assert validate(document(budget__accuracy=0.9)).budget.accuracy == 0.9


@pytest.mark.parametrize(
    ("annotation", "given", "taken"),
    [
        (tuple[float, float], [1, 2], (1.0, 2.0)),
        (tuple[int, ...], [1, 2, 3], (1, 2, 3)),
        (list[tuple[int, int]], [[1, 2]], [(1, 2)]),
        (tuple[int, ...] | None, None, None),
        (tuple[int, ...] | None, [1], (1,)),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (Literal["a"] | Annotated[int, Ge(1)], 2, 2),
    ],
)
def test_lists_of_yaml_become_what_the_signature_asks_for(annotation: Any, given: Any, taken: Any) -> None:
    found = value(annotation, given, "key")
    assert found == taken
    assert type(found) is type(taken)


@pytest.mark.parametrize(
    ("annotation", "given", "words"),
    [
        (tuple[float, float], [1], "a list of 2 numbers"),
        (list[Annotated[int, Ge(1)]], [0], "a list of whole numbers ≥ 1"),
        (dict[str, int], {"a": "b"}, "a mapping of texts to whole numbers"),
        (list[float], [math.nan], "a list of numbers"),
        (dict[str, float], {"a": math.nan}, "a mapping of texts to numbers"),
        (str, 3, "text"),
    ],
)
def test_what_does_not_fit_is_answered_with_what_would(annotation: Any, given: Any, words: str) -> None:
    assert described(annotation) == words
    with pytest.raises(UserError, match=f"need {words}"):
        value(annotation, given, "key")


def test_options_are_in_the_order_of_the_signature() -> None:
    from gradinc.config.catalog import part

    sgd = part("optimizer", "sgd")
    assert list(part_options(sgd, {"momentum": 0.5, "lr": 0.1}, "optimizer.")) == list(sgd.parameters)


def test_text_that_no_file_can_hold_is_refused() -> None:
    with pytest.raises(UserError, match=r"^stream\.roots=\[.*\]: is not UTF-8\. Rename it\.$"):
        load_config(["stream=domains", 'stream.roots=["a\udce9"]'])
