"""A command line stands for one job or many, each composed and checked before any of them starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradinc.base.errors import UserError
from gradinc.config import groups
from gradinc.config.compose import compose_jobs, load_config, reconfigured


def swept(*overrides: str, config_dirs: tuple[Path, ...] = ()) -> list[str]:
    return [" ".join(job.swept) for job in compose_jobs(overrides, multirun=True, config_dirs=config_dirs)]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of the user's own, with a strategy, an experiment and a sweep."""
    files = {
        "strategy/first.yaml": "methods:\n  clip: {}\n",
        "strategy/second.yaml": "methods:\n  noise: {}\nwindow:\n  size: 3\n",
        "model/narrow.yaml": "# A narrow one\nname: cnn\nwidth: 4\n",
        "experiment/paper/row.yaml": (
            "# @package _global_\ndefaults:\n  - override /strategy: [second]\n  - override /model: narrow\n"
            "seed: 5\noptimizer:\n  lr: 0.3\n"
        ),
        "experiment/grid.yaml": (
            "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n"
            "      optimizer.lr: 0.1,0.2\n      seed: range(2)\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_values_are_set_over_what_the_files_say() -> None:
    config = load_config(["model=mlp", "model.width=64", "optimizer.lr=1e-3", "data.augment=[flip,crop]"])
    assert (config.model.name, config.model.options["width"]) == ("mlp", 64)
    assert (config.optimizer.options["lr"], config.data.augment) == (0.001, ("flip", "crop"))


def test_a_strategy_file_gives_only_its_own_keys(mine: Path) -> None:
    window = load_config(["strategy=[second,first]"], [mine]).strategy.window
    assert window.size == 3
    assert load_config(["strategy=first"], [mine]).strategy.window.size == 1


def test_methods_are_in_the_order_written(mine: Path) -> None:
    assert list(load_config(["strategy=[first,second]"], [mine]).strategy.methods) == ["clip", "noise"]
    assert list(load_config(["strategy=[second,first]"], [mine]).strategy.methods) == ["noise", "clip"]
    assert list(load_config(["strategy=second"], [mine]).strategy.methods) == ["noise"]
    assert load_config(["strategy=[]"]).strategy.methods == load_config(["~strategy"]).strategy.methods == {}


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_an_experiment_is_a_delta_with_or_without_a_plus(mine: Path, plus: str) -> None:
    config = load_config([f"{plus}experiment=paper/row", f"{plus}optimizer.momentum=0.5"], [mine])
    assert (config.seed, config.model.options["width"], list(config.strategy.methods)) == (5, 4, ["noise"])
    assert (config.optimizer.options["lr"], config.optimizer.options["momentum"]) == (0.3, 0.5)


def test_the_command_line_is_stronger_than_an_experiment(mine: Path) -> None:
    config = load_config(["optimizer.lr=0.7", "model=mlp", "strategy=first", "experiment=paper/row"], [mine])
    assert (config.optimizer.options["lr"], config.model.name, config.seed) == (0.7, "mlp", 5)
    assert list(config.strategy.methods) == ["clip"]


def test_the_last_of_two_values_counts() -> None:
    assert load_config(["seed=1", "seed=2"]).seed == 2
    assert load_config(["model=mlp", "model=linear"]).model.name == "linear"


def test_what_is_deleted_has_its_default_again() -> None:
    assert load_config(["~seed", "~model.width", "~budget"]) == load_config([])
    assert load_config(["~seed=0"]).seed == 0
    with pytest.raises(UserError, match=r"^~seed=3: its value is 0\."):
        load_config(["~seed=3"])
    with pytest.raises(UserError, match=r"^~model\.widht: no such key\. Did you mean ~model\.width"):
        load_config(["~model.widht"])


@pytest.mark.parametrize(
    ("written", "name"), [("name=007", "007"), ("name=1e3", "1e3"), ("name=true", "true"), ("name='a'", "a")]
)
def test_a_name_is_text_however_much_it_looks_like_a_number(written: str, name: str) -> None:
    assert load_config([written]).name == name
    assert load_config(["name=null"]).name is None


def test_a_path_may_hold_what_hydra_s_grammar_does_not() -> None:
    assert load_config(["data.root=/a (1)/ü=x"]).data.root == "/a (1)/ü=x"
    assert load_config(["init=outputs/a=b,c+d"]).init == "outputs/a=b,c+d"


def test_a_value_may_refer_to_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADINC_TEST_SEED", "12")
    config = load_config(["seed='${oc.decode:${oc.env:GRADINC_TEST_SEED}}'", "data.split_seed=${seed}"])
    assert (config.seed, config.data.split_seed) == (12, 12)


def test_composing_leaves_hydra_as_it_was_and_creates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra.core.global_hydra import GlobalHydra

    monkeypatch.chdir(tmp_path)
    compose_jobs(["seed=1,2", "model=mlp,cnn"], multirun=True)
    assert not GlobalHydra.instance().is_initialized()
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_is_every_combination_the_last_key_fastest() -> None:
    assert swept("optimizer.lr=0.1,0.2", "seed=range(2)") == [
        "optimizer.lr=0.1 seed=0",
        "optimizer.lr=0.1 seed=1",
        "optimizer.lr=0.2 seed=0",
        "optimizer.lr=0.2 seed=1",
    ]
    assert swept("seed=choice(3,5)") == ["seed=3", "seed=5"]
    assert swept("strategy=[sgd],[accumulate]") == ["strategy=[sgd]", "strategy=[accumulate]"]
    assert swept("model=glob(*,exclude=[r*,v*])") == [
        f"model={name}" for name in groups.names("model") if name[0] not in "rv"
    ]
    assert swept("seed=4") == [""]


def test_each_job_of_a_sweep_is_what_it_would_be_alone() -> None:
    jobs = compose_jobs(["model=mlp,cnn", "seed=1,2"], multirun=True)
    assert [job.config for job in jobs] == [load_config(job.swept) for job in jobs]
    assert len({job.directory for job in jobs}) == 4


def test_an_experiment_can_hold_a_sweep(mine: Path) -> None:
    jobs = compose_jobs(["experiment=grid"], config_dirs=[mine])
    assert [(job.config.optimizer.options["lr"], job.config.seed) for job in jobs] == [
        (0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1)
    ]  # fmt: skip
    narrower = compose_jobs(["experiment=grid", "seed=7"], config_dirs=[mine])
    assert [(job.config.optimizer.options["lr"], job.config.seed) for job in narrower] == [(0.1, 7), (0.2, 7)]
    assert len(compose_jobs(["experiment=grid", "hydra.mode=RUN"], config_dirs=[mine])) == 1


def test_experiments_that_are_swept_over_keep_their_own_sweeps(mine: Path) -> None:
    assert swept("experiment=grid,paper/row", config_dirs=(mine,)) == [
        "optimizer.lr=0.1 seed=0 experiment=grid",
        "optimizer.lr=0.1 seed=1 experiment=grid",
        "optimizer.lr=0.2 seed=0 experiment=grid",
        "optimizer.lr=0.2 seed=1 experiment=grid",
        "experiment=paper/row",
    ]


def test_the_name_of_a_sweep_is_a_folder_of_runs_that_are_named_by_their_content() -> None:
    first, second = compose_jobs(["name=x", "seed=1,2"], multirun=True)
    assert first.directory.parent == second.directory.parent == first.folder == Path("outputs/x")
    (alone,) = compose_jobs(["seed=1"])
    assert first.directory.name == alone.directory.name
    assert [str(job.directory) for job in compose_jobs(["name=x,y"], multirun=True)] == ["outputs/x", "outputs/y"]
    with pytest.raises(UserError, match=r"^name=x: two runs of the sweep would share a directory"):
        compose_jobs(["name=x,y", "seed=1,2"], multirun=True)


def test_a_cluster_belongs_to_the_command_and_to_no_run() -> None:
    here, there = compose_jobs(["seed=1"]), compose_jobs(["seed=1", "cluster=local", "n_jobs=3"])
    assert (here[0].cluster.options, there[0].cluster.options) == ({"n_jobs": 1}, {"n_jobs": 3})
    assert here[0].config == there[0].config
    assert "cluster" not in there[0].config.document
    assert compose_jobs(["cluster.n_jobs=-1"])[0].cluster.options == {"n_jobs": -1}
    for wrong, line in {
        "n_jobs=0": r"^cluster\.n_jobs=0: no job would ever run",
        "cluster.n_job=2": r"^cluster\.n_job: cluster=local has no such option\. Did you mean cluster\.n_jobs",
        "n_jobs=many": r"^cluster\.n_jobs=many: need a whole number",
        "cluster=mars": r"^cluster=mars: unknown",
        "n_jobs=1,2": r"^cluster=local: all jobs of a sweep run in one place",
    }.items():
        with pytest.raises(UserError, match=line):
            compose_jobs([wrong], multirun=True)


def test_one_config_is_asked_of_one_run(mine: Path) -> None:
    with pytest.raises(UserError, match="has 4 runs"):
        load_config(["experiment=grid"], [mine])


def test_one_wrong_job_is_found_before_any_other_could_start() -> None:
    with pytest.raises(UserError, match=r"^optimizer\.lr=-1: need a number > 0"):
        compose_jobs(["optimizer.lr=0.1,-1"], multirun=True)


def test_a_run_is_measured_on_other_data_as_it_was_trained() -> None:
    config = load_config(["data.normalize=unit", "data.root=/digits", "device=cpu"])
    other = reconfigured(config, ["data=npz", "data.root=/x.npz", "device=cuda"])
    assert (other.data.name, other.data.root, other.data.normalize, other.device) == ("npz", "/x.npz", "unit", "cuda")
    assert reconfigured(config, []) == config
    assert reconfigured(config, ["data=npz"]).data.root is None
    assert reconfigured(config, ["data=digits"]) == config
    with pytest.raises(UserError, match=r"^optimizer\.lr: is fixed by the training of the run"):
        reconfigured(config, ["optimizer.lr=1"])
    with pytest.raises(UserError, match=r"^data\.split_seed: would test on rows that the run was trained on"):
        reconfigured(config, ["data.split_seed=1"])
