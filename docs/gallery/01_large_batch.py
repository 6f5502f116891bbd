"""A window equals the large batch

Windows of 8 micro-batches with 16 rows make the update of one batch of 128 rows. In float64 the losses agree to
rounding, also for the short window at the end of an epoch.
"""

import matplotlib.pyplot as plt

import gradinc

SAME = {
    "model": "mlp",
    "optimizer.lr": 0.3,
    "dtype": "float64",
    "budget.epochs": 8,
    "log.steps": 1,
    "progress": "quiet",
}

large = gradinc.train(SAME, "data.batch_size=128").curves("train.loss")
window = gradinc.train(SAME, "data.batch_size=16", "strategy.window.size=8").curves("train.loss")

difference = abs(large.y - window.y).max()
print(f"updates {len(large.x)}, largest difference of the losses {difference:.0e}")
assert difference < 1e-10

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.plot(large.x, large.y, linewidth=5, alpha=0.35, label="one batch of 128")
axes.plot(window.x, window.y, linewidth=1.5, linestyle="--", label="8 micro-batches of 16")
axes.set(xlabel="updates", ylabel="training loss", yscale="log")
axes.legend()
figure.savefig("large_batch.svg")
