"""Conflicting gradients: mean, PCGrad and UPGrad

Two micro-batches ask for different directions. Their mean would raise the loss of the second one to first order: its
product with that gradient is negative. PCGrad and UPGrad give an update that conflicts with neither: with two gradients
it is the same one.
"""

import matplotlib.pyplot as plt
import torch

from gradinc.rules.pcgrad import PCGrad
from gradinc.rules.upgrad import UPGrad

rows = torch.tensor([[3.0, 0.4], [-1.0, 0.8]])
combined = {"mean": rows.mean(0)}
for name, rule in (("PCGrad", PCGrad()), ("UPGrad", UPGrad())):
    combined[name] = torch.empty(2)
    rule.combine(rows, [0.5, 0.5], combined[name])
for name, g in combined.items():
    print(f"{name:6}  product with g1 {float(g @ rows[0]):6.2f}, with g2 {float(g @ rows[1]):6.2f}")
assert float(combined["mean"] @ rows[1]) < 0 <= float((rows @ combined["PCGrad"]).min()) + 1e-6

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
for g, name in zip(rows, ("g1", "g2"), strict=True):
    axes.annotate("", g, (0, 0), arrowprops={"arrowstyle": "-|>", "color": "0.6", "linewidth": 2})
    axes.annotate(name, g, (3, 3), textcoords="offset points", color="0.4")
for (name, g), color, width in zip(combined.items(), ("#d55e00", "#56b4e9", "#004d40"), (2, 6, 1.5), strict=True):
    axes.annotate("", g, (0, 0), arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": width})
    axes.plot([], [], color=color, linewidth=width, label=name)
axes.set(xlim=(-1.3, 3.3), ylim=(-0.1, 1.6))
axes.axhline(0, color="0.9", zorder=0)
axes.axvline(0, color="0.9", zorder=0)
axes.legend(loc="upper right")
figure.savefig("conflicts.svg")
