"""Forgetting, and replay against it

Five tasks of two digits each, one output for each digit. Fine-tuning knows the last task only. Experience replay with
200 stored rows keeps the earlier tasks. A cell is the accuracy on one task (column) after training on some (rows).
"""

import matplotlib.pyplot as plt

import gradinc

SAME = {"model": "mlp", "stream": "split", "budget.epochs": 4, "optimizer.lr": 0.05, "progress": "quiet"}
runs = {
    "fine-tuning": gradinc.train(SAME, "strategy=finetune"),
    "replay": gradinc.train(SAME, "strategy=er", "strategy.methods.er.memory=200"),
}

figure, axes = plt.subplots(1, 2, figsize=(6, 3), layout="constrained", sharey=True)
for panel, (name, run) in zip(axes, runs.items(), strict=True):
    metrics = run.result["metrics"]
    print(f"{name:12} ACC {metrics['acc']:.2f}, forgetting {metrics['forgetting']:.2f}")
    picture = panel.imshow(run.matrix[1:], vmin=0, vmax=1, cmap="viridis")
    panel.set(title=name, xlabel="task", xticks=range(5), yticks=range(5))
    panel.set_xticklabels(range(1, 6))
    panel.set_yticklabels(range(1, 6))
axes[0].set_ylabel("after task")
figure.colorbar(picture, ax=axes, label="accuracy", shrink=0.8)
figure.savefig("forgetting.svg")
assert runs["replay"].result["metrics"]["acc"] > runs["fine-tuning"].result["metrics"]["acc"] + 0.2
