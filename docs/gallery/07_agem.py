"""How often A-GEM steps in

A-GEM compares the gradient of each window with the gradient on stored examples of past tasks. If their product is
negative, the update would raise the loss on these examples, and the component is removed. The share of such windows is
0 in the first task, which has no past.
"""

import matplotlib.pyplot as plt

import gradinc

SAME = {"model": "mlp", "stream": "permuted", "stream.tasks": 5}
SAME |= {"budget.epochs": 4, "optimizer.momentum": 0, "optimizer.lr": 0.1, "progress": "quiet"}
agem = gradinc.train(SAME, "strategy=agem", "log.steps=10", "diagnostics=true")
plain = gradinc.train(SAME, "strategy=finetune")

x, y = agem.curves("notes.violated")
figure, axes = plt.subplots(1, 2, figsize=(6.5, 3), layout="constrained")
axes[0].plot(x, y, linewidth=1)
axes[0].set(xlabel="updates", ylabel="share of windows with a conflict", ylim=(0, 1))
for run, label, style in ((agem, "A-GEM", "-"), (plain, "fine-tuning", "--")):
    print(f"{label:12} ACC {run.result['metrics']['acc']:.2f}, BWT {run.result['metrics']['bwt']:+.2f}")
    axes[1].plot(range(1, 6), run.matrix[1:, 0], style, marker="o", label=label)
axes[1].set(xlabel="after task", ylabel="accuracy on the first task", ylim=(0, 1))
axes[1].legend()
figure.savefig("agem.svg")
assert agem.result["metrics"]["acc"] > plain.result["metrics"]["acc"]
