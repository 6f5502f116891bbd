"""The runs that are killed: small, and between them every kind of state that a restart could forget."""

from __future__ import annotations

WATCHED = ("log.steps=1", "checkpoint.seconds=0", "progress=plain")
"""A line for every update, so that progress can be seen, and a checkpoint after every micro-batch."""

NETWORK = ("model=cnn", "model.width=4", "model.depth=1", "model.hidden=8")

CONFIGS: dict[str, tuple[str, ...]] = {
    "batch norm, dropout, crops, momentum, warm-up, carry": (
        *NETWORK,
        "model.norm=batch",
        "model.dropout=0.3",
        "data.augment=[crop,flip]",
        "data.batch_size=128",
        "schedule=cosine",
        "schedule.warmup=3",
        "strategy=accumulate",
        "strategy.window.size=3",
        "strategy.window.last=carry",
        "budget.steps=6",  # in the middle of the second epoch
    ),
    "adam, dropout, flush": (
        "model=mlp",
        "model.width=16",
        "model.dropout=0.2",
        "data.batch_size=100",
        "optimizer=adam",
        "schedule=linear",
        "strategy=accumulate",
        "strategy.window.size=4",
        "budget.epochs=3",
        "evaluate.epochs=2",
    ),
    "nadam in float64, drop": (
        "model=mlp",
        "model.width=16",
        "data.batch_size=81",  # 15 micro-batches of an epoch are full, and a short one would complete the fourth window
        "dtype=float64",
        "optimizer=nadam",
        "strategy=accumulate",
        "strategy.window.size=4",
        "strategy.window.last=drop",
        "budget.epochs=4",
    ),
    "muon, group norm, bfloat16": (
        *NETWORK,
        "model.norm=group",
        "data.batch_size=150",
        "dtype=bfloat16",
        "optimizer=muon",
        "schedule=step",
        "strategy=accumulate",
        "strategy.window.size=2",
        "budget.samples=3000",
    ),
    "sam, grokfast, noise, lookahead over a window": (
        *NETWORK,
        "model.norm=batch",
        "model.dropout=0.2",
        "data.batch_size=100",
        "strategy=[accumulate,sam,grokfast,noise,clip,lookahead]",
        "strategy.window.size=3",
        "strategy.window.last=carry",
        "strategy.methods.lookahead.k=2",
        "budget.epochs=2",
    ),
    "gradients kept apart, regression": (
        "data=diabetes",
        "data.batch_size=20",
        "model=mlp",
        "model.width=8",
        "optimizer=rmsprop",
        "strategy=pcgrad",
        "strategy.window.size=4",
        "strategy.window.last=carry",
        "budget.steps=9",
    ),
    "a stream of tasks, importances": (
        "stream=split",
        "stream.tasks=3",
        "stream.samples_per_task=120",
        "data.batch_size=30",
        "model=mlp",
        "model.width=8",
        "strategy=[accumulate,rwalk]",
        "strategy.window.size=3",
        "strategy.window.last=carry",
        "budget.epochs=2",
    ),
}
"""What continuous integration kills."""

RICH = "batch norm, dropout, crops, momentum, warm-up, carry"
"""The one that is killed at every crash point."""

STREAM = "a stream of tasks, importances"
"""The one that is killed at the crash points that only a stream of tasks has."""
