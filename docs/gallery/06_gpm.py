"""GPM's subspace fills up

Gradient projection memory changes no layer along the inputs of past tasks. Each task takes directions from the layers,
so later tasks have fewer of them to learn with. A higher threshold protects more and leaves less.
"""

import matplotlib.pyplot as plt

import gradinc

SAME = {"model": "mlp", "model.width": 64, "stream": "permuted", "stream.tasks": 8, "strategy": "gpm"}
SAME |= {"budget.epochs": 3, "optimizer.lr": 0.1, "optimizer.momentum": 0, "diagnostics": True, "progress": "quiet"}

figure, axes = plt.subplots(1, 2, figsize=(6.5, 3), layout="constrained")
for threshold, style in ((0.9, "-"), (0.99, "--")):
    run = gradinc.train(SAME, {"strategy.methods.gpm.threshold": threshold})
    free = {}  # after each task, the smallest share of a layer's input directions that may still change
    for line in run.metrics:
        shares = [value for key, value in line.get("notes", {}).items() if key.startswith("free_rank")]
        if shares:
            free[line["task"]] = min(shares)
    print(f"threshold {threshold}: ACC {run.result['metrics']['acc']:.2f}, BWT {run.result['metrics']['bwt']:+.2f}")
    axes[0].plot(list(free), list(free.values()), style, marker="o", label=f"threshold {threshold}")
    axes[1].plot(range(1, 9), run.matrix[1:, 0], style, marker="o", label=f"threshold {threshold}")
axes[0].set(xlabel="task", ylabel="free directions, smallest share", ylim=(0, 1))
axes[1].set(xlabel="after task", ylabel="accuracy on the first task", ylim=(0, 1))
axes[0].legend()
figure.savefig("gpm.svg")
