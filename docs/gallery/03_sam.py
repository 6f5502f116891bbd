"""SAM ends in a flatter place

Both networks fit the training rows. The loss is drawn along random directions, one and a half times as long as the
weights. It rises more slowly around the weights that SAM found.
"""

import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import gradinc

SAME = {"model": "mlp", "data.normalize": "unit", "optimizer.lr": 0.1, "budget.epochs": 10, "progress": "quiet"}
images, labels = load_digits().data / 16, load_digits().target
x, y = torch.tensor(images, dtype=torch.float32), torch.tensor(labels)
steps = np.linspace(-1, 1, 21)


def losses(run):
    """The loss along five directions."""
    model, found = run.model, []
    for seed in range(5):
        torch.manual_seed(seed)
        flat = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
        direction = torch.randn_like(flat)
        direction *= 1.5 * flat.norm() / direction.norm()
        line = []
        for step in steps:
            moved = copy.deepcopy(model)
            torch.nn.utils.vector_to_parameters(flat + float(step) * direction, moved.parameters())
            with torch.no_grad():
                line.append(float(cross_entropy(moved(x), y)))
        found.append(line)
    return np.mean(found, 0)


sgd = losses(gradinc.train(SAME, "strategy=sgd"))
sam = losses(gradinc.train(SAME, "strategy=sam", "strategy.methods.sam.rho=0.3"))
print(f"rise of the loss at the ends: SGD {sgd[[0, -1]].mean() - sgd[10]:.3f}, SAM {sam[[0, -1]].mean() - sam[10]:.3f}")
assert sam[[0, -1]].mean() - sam[10] < sgd[[0, -1]].mean() - sgd[10]

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.plot(steps, sgd - sgd[10], label="SGD")
axes.plot(steps, sam - sam[10], linestyle="--", label="SAM")
axes.set(xlabel="step along a random direction", ylabel="rise of the loss")
axes.legend()
figure.savefig("sam.svg")
