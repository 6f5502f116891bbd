"""Memory falls with the micro-batch, the update stays

The same update of 256 rows, in micro-batches of 4 to 256 rows. What the backward pass must store grows with the rows of
a micro-batch; the weights after the update differ by rounding only.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import gradinc

torch.manual_seed(0)
x, y = torch.randn(256, 1, 28, 28), torch.randint(10, (256,))


def updated(rows):
    """The weights after one update, and the largest number of bytes that a micro-batch stored for its backward pass."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 13 * 13, 10))
    learner = gradinc.attach(net, {"name": "sgd", "lr": 0.1}, strategy="accumulate", window=256 // rows)
    stored, most = [0], 0

    def pack(tensor):
        stored[0] += tensor.nbytes
        return tensor

    parts = list(zip(x.split(rows), y.split(rows), strict=True))
    with learner.task(parts):
        for a, b in parts:
            stored[0] = 0
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                learner.step(a, b)
            most = max(most, stored[0])
    return nn.utils.parameters_to_vector(net.parameters()).detach(), most


sizes = [4, 8, 16, 32, 64, 128, 256]
found = [updated(rows) for rows in sizes]
whole = found[-1][0]
difference = max(float((weights - whole).norm() / whole.norm()) for weights, _ in found)
print(f"{found[0][1] / 1e6:.1f} MB with micro-batches of 4 rows, {found[-1][1] / 1e6:.1f} MB with one batch of 256")
print(f"largest relative difference of the weights {difference:.0e}")
assert difference < 1e-5

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.plot(sizes, [most / 1e6 for _, most in found], marker="o")
axes.set(xlabel="rows of a micro-batch", ylabel="stored for backward, MB", xscale="log", yscale="log")
axes.set_xticks(sizes, list(map(str, sizes)))
figure.savefig("memory.svg")
