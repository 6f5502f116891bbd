"""A sweep, drawn with intervals

Four learning rates, two optimizers and three seeds are 24 runs of a linear model. `gradinc.results` groups the runs
that differ in the seed only; the bars are 95 % intervals of the mean.
"""

import matplotlib.pyplot as plt

import gradinc

RATES = [0.003, 0.01, 0.03, 0.1]

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
for optimizer, style in (("sgd", "-"), ("adam", "--")):
    for seed in range(3):
        for rate in RATES:
            words = {"model": "linear", "optimizer": optimizer, "optimizer.lr": rate, "seed": seed, "budget.epochs": 4}
            gradinc.train(words, "progress=quiet", f"output=outputs/{optimizer}")
    table = gradinc.results(f"outputs/{optimizer}", metrics=["test"]).sort_values("optimizer.lr")
    bars = [table["test"] - table["test_low"], table["test_high"] - table["test"]]
    axes.errorbar(table["optimizer.lr"], table["test"], bars, linestyle=style, marker="o", capsize=3, label=optimizer)
    best = table.loc[table["test"].idxmax()]
    print(f"{optimizer:4}  best rate {best['optimizer.lr']:g}: {best['test']:.3f} ± {best['test_sd']:.3f}")
axes.set(xlabel="learning rate", ylabel="test accuracy", xscale="log")
axes.legend(loc="lower right")
figure.savefig("sweep.svg")
