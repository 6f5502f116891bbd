"""Robust rules against corrupted gradients

In every tenth micro-batch the gradient is flipped and made 10 times as long, as by broken hardware or an attacker. The
mean of a window follows it. The median and the trimmed mean of the micro-batches do not.
"""

import matplotlib.pyplot as plt

import gradinc

SAME = {"model": "mlp", "strategy.window.size": 8, "optimizer.lr": 0.05, "budget.epochs": 8, "log.steps": 5}
SAME |= {"corrupt.prob": 0.1, "corrupt.kind": "flip", "corrupt.scale": 10, "data.batch_size": 16, "progress": "quiet"}

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
for rule, style in (("mean", ":"), ("trimmed", "--"), ("median", "-")):
    options = ["strategy.window.trimmed.trim=0.25"] if rule == "trimmed" else []
    run = gradinc.train(SAME, f"strategy.window.rule={rule}", *options)
    x, y = run.curves("train.loss")
    print(f"{rule:8} test accuracy {run.result['test']['accuracy']:.2f}")
    axes.plot(x, y, style, label=rule)
axes.set(xlabel="updates", ylabel="training loss", yscale="log")
axes.legend()
figure.savefig("robust.svg")
