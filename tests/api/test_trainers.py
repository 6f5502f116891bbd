"""Strategies inside trainers: against `gradinc.attach`, and against gradient accumulation by hand."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gradinc
from gradinc.data.torchvision_import import import_torchvision

TOKENS, WIDTH, PAD = 13, 8, 0
CHAINS: dict[str, dict[str, Any]] = {
    "clip": {"strategy": "clip", "clip": {"norm": 0.05}},
    "centralize, agc": {"strategy": ["centralize", "agc"]},
    "grokfast": {"strategy": "grokfast"},
    "noise": {"strategy": "noise"},
}


def library(name: str, extra: str) -> Any:
    import_torchvision()
    return pytest.importorskip(name, reason=f"needs gradinc[{extra}]") and importlib.import_module(name)


def vector(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


# ---- Hugging Face ----


def language_model() -> nn.Module:
    """A tiny GPT-2 built from a config, in float64, without dropout."""
    transformers = library("transformers", "trainer")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=TOKENS, n_positions=8, n_embd=WIDTH, n_layer=1, n_head=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
    )
    return transformers.GPT2LMHeadModel(config).double()


def texts(rows: int = 22) -> list[dict[str, Tensor]]:
    """Rows with different numbers of tokens; the others have no loss."""
    random = torch.Generator().manual_seed(1)
    x = torch.randint(1, TOKENS, (rows, 8), generator=random)
    lengths = torch.randint(2, 9, (rows,), generator=random)
    y = x.masked_fill(torch.arange(8) >= lengths[:, None], -100)
    return [{"input_ids": a, "labels": b} for a, b in zip(x, y, strict=True)]


def arguments(folder, steps: int, **options: Any) -> Any:
    return library("transformers", "trainer").TrainingArguments(
        str(folder),
        per_device_train_batch_size=3,
        gradient_accumulation_steps=steps,
        num_train_epochs=1,
        learning_rate=0.1,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
        **options,
    )


def trained(
    folder, net: nn.Module, rows: list[dict[str, Tensor]], steps: int, callback: Any, **options: Any
) -> nn.Module:
    transformers = library("transformers", "trainer")

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    trainer = InOrder(
        net, arguments(folder, steps, **options), train_dataset=rows, callbacks=[callback] if callback else []
    )
    trainer.train()
    return net


def token_losses(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out[:, :-1].transpose(1, 2), y[:, 1:], reduction="none")


def token_terms(y: Tensor) -> Tensor:
    """The labels as the Trainer counts them: with the first of each row, for which there is no prediction."""
    return (y != -100).sum(1).double()


class Logits(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).logits


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("name", CHAINS)
def test_the_trainer_with_the_callback_is_attach(tmp_path, name: str, steps: int) -> None:
    """Windows of ragged rows: the Trainer and attach both divide by all tokens of the window."""
    trainer = pytest.importorskip("gradinc.api.trainer", reason="needs gradinc[trainer]")
    rows, ours, plain = texts(), language_model(), language_model()
    theirs = trained(tmp_path, language_model(), rows, steps, trainer.TrainerCallback(**CHAINS[name]))
    without = trained(tmp_path, plain, rows, steps, None)
    learner = gradinc.attach(
        Logits(ours),
        torch.optim.SGD(ours.parameters(), lr=0.1),
        window=steps,
        criterion=token_losses,
        terms=token_terms,
        **CHAINS[name],
    )
    for first in range(0, len(rows), 3):
        part = rows[first : first + 3]
        learner.step(*(torch.stack([row[key] for row in part]) for key in ("input_ids", "labels")))
    learner.flush()
    torch.testing.assert_close(vector(ours), vector(theirs), rtol=1e-5, atol=1e-7)  # the model's loss is in float32
    assert (vector(ours) - vector(without)).abs().max() > 1e-4


@pytest.mark.parametrize("steps", [1, 4])
def test_the_trainer_with_clip_is_accumulation_by_hand(tmp_path, steps: int) -> None:
    trainer = pytest.importorskip("gradinc.api.trainer", reason="needs gradinc[trainer]")
    rows, net = texts(), language_model()
    theirs = trained(tmp_path, language_model(), rows, steps, trainer.TrainerCallback(**CHAINS["clip"]))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for first in range(0, len(rows), 3 * steps):
        window = rows[first : first + 3 * steps]
        x, y = (torch.stack([row[key] for row in window]) for key in ("input_ids", "labels"))
        optimizer.zero_grad()
        loss = token_losses(net(x).logits, y).sum() / token_terms(y).sum()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.05)
        optimizer.step()
    torch.testing.assert_close(vector(net), vector(theirs), rtol=1e-6, atol=1e-7)


def test_the_trainer_clips_before_the_strategy(tmp_path) -> None:
    """So noise after the Trainer's clipping is not clipped, and gradinc's clip comes where the chain says."""
    trainer = pytest.importorskip("gradinc.api.trainer", reason="needs gradinc[trainer]")
    rows, norms = texts(3), []

    class Norm(library("transformers", "trainer").TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
            norms.append(float(torch.cat([p.grad.flatten() for p in parts["model"].parameters()]).norm()))

    for callback in (None, trainer.TrainerCallback(strategy="noise", noise={"eta": 100.0})):
        transformers = library("transformers", "trainer")
        args = arguments(tmp_path, 1)
        args.max_grad_norm = 1e-3
        callbacks = [Norm()] if callback is None else [callback, Norm()]
        transformers.Trainer(language_model(), args, train_dataset=rows, callbacks=callbacks).train()
    assert norms[0] <= 1.001e-3 < norms[1]


class Perceptron(nn.Module):
    """A classifier with the Trainer's interface."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
        out = self.layers(x)
        return out if labels is None else {"loss": F.cross_entropy(out, labels), "logits": out}


def tasks() -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(3)
    return [
        (torch.randn(24, 5, generator=random, dtype=torch.float64), torch.randint(3, (24,), generator=random))
        for _ in range(2)
    ]


LOOKING_BACK: dict[str, dict[str, Any]] = {
    "agem": {"strategy": "agem", "agem": {"memory": 16, "sample": 5}, "tasks": 2},
    "gem": {"strategy": "gem", "gem": {"memory": 16}, "tasks": 2},
    "gpm": {"strategy": "gpm", "gpm": {"threshold": 0.7}},
    "ogd": {"strategy": "ogd", "ogd": {"memory": 8}, "tasks": 2},
    "ewc": {"strategy": "ewc"},
    "si": {"strategy": "si"},
}


def by_attach(options: dict[str, Any], steps: int) -> nn.Module:
    net = Perceptron()
    learner = gradinc.attach(net, torch.optim.SGD(net.parameters(), lr=0.1), window=steps, **options)
    for x, y in tasks():
        with learner.task((x, y)):
            for a, b in zip(x.split(3), y.split(3), strict=True):
                learner.step(a, b)
    return net


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("name", LOOKING_BACK)
def test_methods_that_look_back_are_attach_in_a_trainer_for_each_task(tmp_path, name: str, steps: int) -> None:
    trainer = pytest.importorskip("gradinc.api.trainer", reason="needs gradinc[trainer]")
    callback, net = trainer.TrainerCallback(**LOOKING_BACK[name]), Perceptron()
    for x, y in tasks():
        rows = [{"x": a, "labels": b} for a, b in zip(x, y, strict=True)]
        with callback.task((x, y)):
            trained(tmp_path, net, rows, steps, callback)
    torch.testing.assert_close(vector(net), vector(by_attach(LOOKING_BACK[name], steps)), rtol=1e-6, atol=1e-8)
    assert (vector(net) - vector(by_attach({"strategy": "sgd"}, steps))).abs().max() > 1e-5


# ---- Lightning ----


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("name", ["clip", "noise", "agem", "gpm"])
def test_lightning_with_the_callback_is_attach(tmp_path, name: str, steps: int) -> None:
    lightning = pytest.importorskip("gradinc.api.lightning", reason="needs gradinc[lightning]")
    pytorch = importlib.import_module("lightning.pytorch")

    class Module(pytorch.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Perceptron()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

        def training_step(self, batch: Any, index: int) -> Tensor:
            return F.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    options = {**CHAINS, **LOOKING_BACK}[name]
    callback, module = lightning.LightningCallback(**options), Module()
    for x, y in tasks():
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 3)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = pytorch.Trainer(
            max_epochs=1,
            accelerator="cpu",
            accumulate_grad_batches=steps,
            callbacks=[callback],
            enable_model_summary=False,
            default_root_dir=tmp_path,
            **quiet,
        )
        with callback.task((x, y)):
            trainer.fit(module, loader)
    torch.testing.assert_close(vector(module), vector(by_attach(options, steps)), rtol=1e-9, atol=1e-11)
    assert (vector(module) - vector(by_attach({"strategy": "sgd"}, steps))).abs().max() > 1e-5


# ---- refusals ----


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"strategy": "sam"}, "strategy=sam: computes passes of the window again"),
        ({"strategy": "er"}, "strategy=er: computes passes of the window again or stores its batches"),
        ({"strategy": "derpp", "tasks": 2}, "strategy=derpp"),
        ({"strategy": "lwf"}, "strategy=lwf: adds a term to the loss"),
        ({"strategy": "median"}, "strategy.window.rule=median: needs the gradient of each micro-batch"),
        ({"strategy": ["accumulate", "clip"]}, "its own number of accumulation steps is the window"),
    ],
)
def test_what_a_callback_cannot_do_names_the_way_that_can(options: dict[str, Any], reason: str) -> None:
    from gradinc.api.gradients import Hook

    net = Perceptron()
    with pytest.raises(gradinc.UserError, match=r"gradinc\.attach") as raised:
        Hook((), lambda net, x: net(x), options).start(net, torch.optim.SGD(net.parameters(), lr=0.1))
    assert reason in str(raised.value)


def test_a_strategy_that_looks_back_asks_for_tasks() -> None:
    from gradinc.api.gradients import Hook

    net = copy.deepcopy(Perceptron())
    with pytest.raises(gradinc.UserError, match=r"with callback\.task"):
        Hook((), lambda net, x: net(x), {"strategy": "gpm"}).start(net, torch.optim.SGD(net.parameters(), lr=0.1))
