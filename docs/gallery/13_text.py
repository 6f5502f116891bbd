"""Which package is a docstring from?

The docstrings of three packages of Python's standard library are texts in a folder for each class. Words are the
tokens, and a convolution over them is the model.
"""

import ast
import asyncio
import email
import unittest
from pathlib import Path

import matplotlib.pyplot as plt

import gradinc

for package in (asyncio, email, unittest):
    name, texts = package.__name__, []
    for path in sorted(Path(package.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                texts.append(ast.get_docstring(node) or "")
    Path("texts", name).mkdir(parents=True)
    long = [text for text in texts if len(text.split()) > 5]
    for number, text in enumerate(long[:150]):
        Path("texts", name, f"{number:03}.txt").write_text(text, encoding="utf-8")

run = gradinc.train(
    "data=text_folder",
    "data.root=texts",
    "model=text_cnn",
    "strategy=accumulate",
    "strategy.window.size=2",
    "optimizer=adam",
    "optimizer.lr=0.01",
    "budget.epochs=6",
    "model.width=32",
    "data.length=64",
    "progress=quiet",
)
print(f"test accuracy {run.result['test']['accuracy']:.2f}")

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
for key, label, style in (("train.loss", "training", "-"), ("validation.loss", "validation", "--")):
    x, y = run.curves(key)
    axes.plot(x, y, style, label=label)
axes.set(xlabel="updates", ylabel="loss")
axes.legend()
figure.savefig("text.svg")
