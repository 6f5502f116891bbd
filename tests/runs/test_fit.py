"""The largest micro-batch that fits: the same updates, found once, and without a trace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from gradinc.base.errors import UserError
from gradinc.config.compose import load_config
from gradinc.data.dataset import load_dataset
from gradinc.runs import fit
from gradinc.runs.build import Shape, build_criterion, build_model
from gradinc.runs.device import is_out_of_memory
from gradinc.runs.execute import execute

SMALL = ["data=digits", "model=mlp", "model.width=16", "progress=quiet", "threads=1", "dtype=float64"]
PLAIN = ["optimizer.momentum=0", "optimizer.lr=0.1", "budget.epochs=2"]
WINDOW = ["data.batch_size=24", "strategy.window.size=10"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    def made(name, *more, available=None, fresh=False):
        """A run on a machine with so many free bytes: its result and its meta.json."""
        if available is not None:
            monkeypatch.setattr(fit, "available_memory", lambda: available)
        config = load_config([*SMALL, *PLAIN, *WINDOW, f"output={tmp_path}", f"name={name}", f"fresh={fresh}", *more])
        assert execute(config) == 0
        return [json.loads((tmp_path / name / file).read_text()) for file in ("result.json", "meta.json")]

    return made


AUTO = "strategy.window.micro_batch=auto"


def test_the_updates_are_the_same_whatever_fits(run):
    given, plain_meta = run("given")
    found = {}
    for name, available in (("large", 2**40), ("small", 230_000), ("none", 0)):
        result, meta = run(name, AUTO, available=available)
        found[name] = meta["micro_batch"]
        assert result["steps"] == given["steps"]
        assert result["samples"] == given["samples"]
        assert result["test"]["loss"] == pytest.approx(given["test"]["loss"], rel=1e-10)
        assert result["rows"] == result["samples"] == 2 * 1294
        assert result["passes"] == result["rows"] / meta["micro_batch"]
    assert "micro_batch" not in plain_meta
    assert found["large"] == 240
    assert found["none"] == 1
    assert 1 < found["small"] < 240
    assert 240 % found["small"] == 0


def test_fresh_looks_again(run):
    _, meta = run("again", AUTO, "budget.epochs=1", available=230_000)
    _, renewed = run("again", AUTO, "budget.epochs=1", available=2**40, fresh=True)
    assert meta["micro_batch"] < renewed["micro_batch"] == 240


def test_a_run_that_goes_on_elsewhere_keeps_what_was_found(run, tmp_path):
    whole, meta = run("whole", AUTO, available=230_000)
    run("cut", AUTO, available=230_000)
    (tmp_path / "cut" / "result.json").unlink()
    for path in sorted((tmp_path / "cut" / "ckpt").glob("[0-9]*"))[-1:]:
        path.unlink()
    result, again = run("cut", AUTO, available=2**40)
    assert again["micro_batch"] == meta["micro_batch"]
    assert result["weights_digest"] == whole["weights_digest"]


def test_the_probe_leaves_no_trace(run):
    """Found what is given anyway, the run is the same to the bit, with dropout and BatchNorm."""
    window = ["data.batch_size=240", "strategy.window.size=1", "model.dropout=0.2"]
    state = torch.get_rng_state()
    auto, _ = run("auto", AUTO, *window, available=2**40)
    given, _ = run("given", *window)
    assert auto["weights_digest"] == given["weights_digest"]
    model, criterion, rows, config = parts("mlp")
    fit.largest(config, model, criterion, rows)
    assert all(p.grad is None for p in model.parameters())
    torch.set_rng_state(state)
    fit.largest(config, model, criterion, rows)
    assert torch.equal(torch.get_rng_state(), state)


def parts(name):
    config = load_config([f"model={name}", "data=digits"])
    dataset = load_dataset(config.data, "cpu", torch.float32)
    model = build_model(config, Shape(dataset.shape, dataset.outputs), torch.device("cpu"))
    return model, build_criterion(dataset), dataset.train, config


@pytest.mark.parametrize("name", ["mlp", "cnn", "vit", "resnet18"])
def test_what_is_foreseen_is_no_less_than_what_is_used_and_not_far_more(name):
    """Against the allocator's own account of a forward and a backward pass."""
    model, criterion, rows, config = parts(name)
    probe = fit.Probe(config, model, criterion, rows)
    foreseen = probe.bytes(64)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        torch.autograd.grad(probe.loss(64), list(model.parameters()))
    now = used = 0
    for event in watched.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            used = max(used, now)
    weights = sum(4 * p.numel() for p in model.parameters())
    assert used - weights <= foreseen <= 3 * used
    assert probe.bytes(32) < foreseen


def test_twice_the_memory_never_means_a_smaller_micro_batch():
    model, criterion, rows, config = parts("cnn")
    sizes = [fit.largest(config, model, criterion, rows, available=2**n) for n in range(20, 34)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert sizes[-1] == 32


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["strategy=median"], "strategy.window.rule=mean"),
        (["strategy.window.due=items"], "strategy.window.due=size"),
        (["strategy.scale_lr=linear"], "strategy.scale_lr=none"),
    ],
)
def test_what_depends_on_the_number_of_micro_batches_is_refused(arguments, what):
    with pytest.raises(UserError, match=rf"^strategy\.window\.micro_batch=auto: goes with {what} only\. "):
        load_config([AUTO, *arguments])


def test_layers_with_windows_of_their_own_keep_their_rows():
    config = load_config([*SMALL, *WINDOW, AUTO, "strategy.window.layers={*:40}"])
    window = fit.fitted(config, 120).strategy.window
    assert (window.size, window.layers) == (2, {"*": 8})


SHORT = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import torch
from test_fit import parts
from gradinc.runs import fit

model, criterion, rows, config = parts("cnn")
probe = fit.Probe(config, model.train(), criterion, rows)
assert probe.fits(4) and probe.fits(64)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, resource.RLIM_INFINITY))
tried = [probe.fits(4), probe.fits(50_000), probe.fits(4), probe.fits(4, 500_000_000), probe.fits(4)]
assert tried == [True, False, True, False, True], tried
"""


def test_what_does_not_fit_is_seen_by_trying_and_given_back():
    """What a GPU's candidates go through, where the system refuses memory: it fails, and leaves none behind."""
    words = [sys.executable, "-c", SHORT, str(Path(__file__).parent)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_memory_that_is_short_is_known_by_its_words(error, short):
    assert is_out_of_memory(error) == short


@pytest.fixture
def small_gpu():
    """A GPU of which this process may have 600 MB, whatever it says is free."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here: the trial on a GPU was not run")
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(600_000_000 / whole)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_on_a_gpu_smaller_ones_are_tried_until_one_fits(run, small_gpu):
    """The free memory that it is told promises far more than the process gets; the trial finds out."""
    words = ["model=cnn", "model.width=64", "device=cuda", "dtype=float32", "data.batch_size=1200", "budget.epochs=1"]
    result, meta = run("gpu", AUTO, *words, "strategy.window.size=40")
    given, _ = run("given", *words, "data.batch_size=30", "strategy.window.size=1600")
    assert 1 <= meta["micro_batch"] < 1294
    assert result["steps"] == given["steps"] == 1
    assert result["test"]["loss"] == pytest.approx(given["test"]["loss"], rel=1e-3)
    assert torch.cuda.max_memory_allocated() < 600_000_000


def test_on_a_gpu_what_the_cache_holds_counts_as_free(small_gpu):
    device = torch.device("cuda:0")
    before = fit.free_memory(device)
    del (held := [torch.empty(100_000_000, dtype=torch.uint8, device=device)])[:]
    assert torch.cuda.memory_reserved() >= 100_000_000
    assert fit.free_memory(device) > before - 50_000_000
    assert held == []
