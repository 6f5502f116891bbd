"""Two mistakes of hand-written accumulation

A window has 32, 32, 32 and 5 rows. Calling `backward` on the mean loss of each micro-batch gives a gradient that is
4 times too long. Dividing by 4 gives the short micro-batch the weight of a full one. A window of gradinc divides once,
by the rows that it had.
"""

import matplotlib.pyplot as plt
import torch
from torch.nn.functional import cross_entropy

import gradinc

torch.manual_seed(0)
x, y = torch.randn(101, 20, dtype=torch.float64), torch.randint(5, (101,))
parts = list(zip(x.split(32), y.split(32), strict=True))


def gradient(net):
    return torch.cat([p.grad.flatten() for p in net.parameters()]).clone()


def by_hand(net, divisor):
    for a, b in parts:
        (cross_entropy(net(a), b) / divisor).backward()
    return gradient(net)


def net():
    torch.manual_seed(1)
    return torch.nn.Linear(20, 5, dtype=torch.float64)


whole = net()
cross_entropy(whole(x), y).backward()
right = gradient(whole)

own = net()
before = torch.cat([p.detach().flatten() for p in own.parameters()])
learner = gradinc.attach(own, {"name": "sgd", "lr": 1.0}, strategy="accumulate", window=4)
with learner.task(parts):
    for a, b in parts:
        learner.step(a, b)
window = before - torch.cat([p.detach().flatten() for p in own.parameters()])

errors = {
    "backward, no division": by_hand(net(), 1),
    "divided by 4": by_hand(net(), 4),
    "window of gradinc": window,
}
errors = {name: float((g - right).norm() / right.norm()) for name, g in errors.items()}
for name, error in errors.items():
    print(f"{name:22} error {error:.0e}")
assert errors["window of gradinc"] < 1e-12

figure, axes = plt.subplots(figsize=(5, 2.4), layout="constrained")
axes.barh(list(errors), [max(error, 1e-16) for error in errors.values()], color=["#d55e00", "#e69f00", "#0072b2"])
axes.set(xscale="log", xlabel="relative error of the gradient", xlim=(1e-17, 10))
axes.invert_yaxis()
figure.savefig("ragged_windows.svg")
