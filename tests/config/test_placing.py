"""An option goes where its part is: it never brings a part in, and a sweep does not count a run twice for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradinc.base.errors import UserError
from gradinc.config.compose import compose_jobs, load_config


def swept(line: str) -> list[str]:
    return [" ".join(job.swept) for job in compose_jobs(line.split(), multirun=True)]


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("strategy=accumulate strategy.methods.sam.rho=0.1", "strategy=[accumulate,sam]"),
        ("strategy=[accumulate,agem] strategy.methods.sam.rho=0.1", "strategy=[accumulate,agem,sam]"),
        ("experiment=fashion_cnn strategy.methods.sam.rho=0.1", "strategy=[accumulate,sam]"),
        ("strategy.methods.sam={rho:0.1}", "strategy=sam"),
        ("strategy=finetune strategy.methods.sam={}", "strategy=sam"),
        ("strategy=sgd strategy={methods:{sam:{rho:0.1}}}", "strategy=sam"),
        ("+strategy.methods.sam.rho=0.1", "strategy=sam"),
    ],
)
def test_an_option_of_a_method_does_not_add_the_method(line: str, fix: str) -> None:
    for multirun in (False, True):
        with pytest.raises(UserError, match=r"^strategy\.methods\.sam(\.rho)?: .* has no method sam") as caught:
            compose_jobs(line.split(), multirun=multirun)
        assert caught.value.fix == f"Write {fix}"
    assert "sam" in load_config([fix]).strategy.methods


def test_options_of_methods_that_are_chosen_are_set_and_files_may_choose(tmp_path: Path) -> None:
    config = load_config(["strategy=[accumulate,sam]", "strategy.methods.sam.rho=0.1"])
    assert config.strategy.methods == {"sam": {"rho": 0.1}}
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nstrategy:\n  methods:\n    sam:\n      rho: 0.2\n"
    )
    config = load_config(["experiment=mine", "strategy.methods.sam.rho=0.3"], [tmp_path])
    assert config.strategy.methods == {"sam": {"rho": 0.3}}
    assert load_config(["strategy=[sam,clip]", "~strategy.methods.clip"]).strategy.methods == {"sam": {"rho": 0.05}}


SWEEPS = {
    "strategy=er,ewc strategy.methods.er.memory=100,200": [
        "strategy=er strategy.methods.er.memory=100",
        "strategy=er strategy.methods.er.memory=200",
        "strategy=ewc",
    ],
    "strategy=er,ewc strategy.methods.er.memory=100 strategy.methods.ewc.strength=1,2": [
        "strategy=er",
        "strategy=ewc strategy.methods.ewc.strength=1",
        "strategy=ewc strategy.methods.ewc.strength=2",
    ],
    "optimizer=sgd,adam optimizer.momentum=0,0.9": [
        "optimizer=sgd optimizer.momentum=0",
        "optimizer=sgd optimizer.momentum=0.9",
        "optimizer=adam",
    ],
    "model=mlp,cnn model.hidden=32,64": ["model=mlp", "model=cnn model.hidden=32", "model=cnn model.hidden=64"],
    "stream=iid,split stream.tasks=2,5": ["stream=iid", "stream=split stream.tasks=2", "stream=split stream.tasks=5"],
    "schedule=step,cosine schedule.every=10,20": [
        "schedule=step schedule.every=10",
        "schedule=step schedule.every=20",
        "schedule=cosine",
    ],
    "data=digits,modular data.modulus=7,11": [
        "data=digits",
        "data=modular data.modulus=7",
        "data=modular data.modulus=11",
    ],
    "strategy=trimmed,median strategy.window.trimmed.trim=0.125,0.25": [
        "strategy=trimmed strategy.window.trimmed.trim=0.125",
        "strategy=trimmed strategy.window.trimmed.trim=0.25",
        "strategy=median",
    ],
    "strategy.window.due=size,items strategy.window.items.rows=64,128": [
        "strategy.window.due=size",
        "strategy.window.due=items strategy.window.items.rows=64",
        "strategy.window.due=items strategy.window.items.rows=128",
    ],
    "strategy=er,ewc ~strategy.methods.er.memory": ["strategy=er", "strategy=ewc"],
    "optimizer=sgd,adam optimizer.lr=0.1,0.2": [
        f"optimizer={name} optimizer.lr={rate}" for name in ("sgd", "adam") for rate in (0.1, 0.2)
    ],
}


@pytest.mark.parametrize("line", SWEEPS)
def test_an_option_goes_to_the_runs_that_have_its_part_and_makes_one_run_of_the_others(line: str) -> None:
    assert swept(line) == SWEEPS[line]


def test_each_run_of_such_a_sweep_is_named_as_it_would_be_alone() -> None:
    line = "strategy=er,ewc,accumulate strategy.methods.er.memory=100,200 strategy.methods.ewc.strength=1,2 seed=0,1"
    jobs = compose_jobs(line.split(), multirun=True)
    alone = [
        [choice, *(option and [option]), f"seed={seed}"]
        for choice, options in {
            "strategy=er": ["strategy.methods.er.memory=100", "strategy.methods.er.memory=200"],
            "strategy=ewc": ["strategy.methods.ewc.strength=1", "strategy.methods.ewc.strength=2"],
            "strategy=accumulate": [""],
        }.items()
        for option in options
        for seed in (0, 1)
    ]
    assert [list(job.swept) for job in jobs] == alone
    assert [job.config for job in jobs] == [load_config(words) for words in alone]
    assert [job.directory for job in jobs] == [compose_jobs(words)[0].directory for words in alone]
    assert len({job.directory for job in jobs}) == 10


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("strategy=ewc strategy.methods.er.memory=100 seed=0,1", r"strategy\.methods\.er\.memory: strategy=ewc has no"),
        ("strategy=er,ewc strategy.methods.sam.rho=0.1", r"strategy\.methods\.sam\.rho: strategy=er has no method sam"),
        ("optimizer=sgd,adam optimizer.alpha=1", r"optimizer\.alpha: optimizer=sgd has no such option\. It is one of"),
        ("optimizer=sgd,adam optimizer.momentun=1", r"optimizer\.momentun: no such key\. Did you mean optimizer\.mom"),
        ("strategy=er,ewc strategy.methods.er.memry=1", r"strategy\.methods\.er\.memry: no such key"),
        ("strategy=median,ema strategy.window.trimmed.trim=0.1,0.2", r"strategy\.window\.trimmed\.trim: is for rule"),
        ("strategy=er,ewc strategy.methods={er:{memory:100},ewc:{strength:3}}", r"strategy\.methods\.ewc\.strength: "),
    ],
)
def test_an_option_that_fits_none_of_the_runs_is_refused(line: str, error: str) -> None:
    with pytest.raises(UserError, match=f"^{error}"):
        compose_jobs(line.split(), multirun=True)


@pytest.mark.parametrize(
    ("line", "setter"),
    [
        ("strategy=stable_sgd optimizer=adam", "strategy=stable_sgd"),
        ("strategy=[ewc,stable_sgd] optimizer=adam", "strategy=stable_sgd"),
        ("experiment=gdumb_mnist optimizer=adam", "experiment=gdumb_mnist"),
        ("strategy=stable_sgd optimizer=adam optimizer.momentum=0.3", None),
        ("optimizer=adam optimizer.momentum=0.3", None),
    ],
)
def test_an_option_that_a_file_sets_is_refused_with_the_file_s_choice(line: str, setter: str | None) -> None:
    said = f"{setter} sets it, and " if setter else ""
    with pytest.raises(UserError) as refused:
        load_config(line.split())
    assert str(refused.value).startswith(f"optimizer.momentum: {said}optimizer=adam has no such option. It is one of ")
    if setter:
        assert str(refused.value).endswith("; ~optimizer.momentum leaves it out.")
        assert load_config([*line.split(), "~optimizer.momentum"]).optimizer.name == "adam"


def test_a_sweep_in_a_file_goes_by_the_same_rule(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "both.yaml").write_text(
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n"
        "      strategy: er,ewc\n      strategy.methods.er.memory: 100,200\n"
    )
    jobs = compose_jobs(["experiment=both"], config_dirs=[tmp_path])
    assert [list(job.config.strategy.methods) for job in jobs] == [["er"], ["er"], ["ewc"]]
