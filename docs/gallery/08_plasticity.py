"""A network that stops learning

Each of 30 tasks has the same 64 rows with new random labels, which can only be memorised. Adam's online accuracy falls
from task to task: the network loses its plasticity. A penalty around the initial weights (L2 Init) keeps it able to
learn, and so does a renewal of dormant units (ReDo).
"""

import matplotlib.pyplot as plt

import gradinc

SAME = {"model": "mlp", "model.width": 64, "stream": "relabelled", "stream.tasks": 30, "stream.rows": 64}
SAME |= {"optimizer": "adam", "optimizer.lr": 0.003, "budget.epochs": 30, "evaluate.tasks": "none", "progress": "quiet"}
runs = {
    "Adam": gradinc.train(SAME, "strategy=finetune"),
    "Adam with L2 Init": gradinc.train(SAME, "strategy=l2_init", "strategy.methods.l2_init.strength=0.01"),
    "Adam with ReDo": gradinc.train(SAME, "strategy=redo", "strategy.methods.redo.every=60"),
}

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
for (name, run), style in zip(runs.items(), ("-", "--", ":"), strict=True):
    online = run.result["online"]
    print(f"{name:18} first five tasks {sum(online[:5]) / 5:.2f}, last five {sum(online[-5:]) / 5:.2f}")
    axes.plot(range(1, 31), online, style, marker=".", label=name)
axes.set(xlabel="task", ylabel="online accuracy")
axes.legend()
figure.savefig("plasticity.svg")
