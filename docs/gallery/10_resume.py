"""Killed and resumed, to the bit

One run is left alone. The other, in a process of its own, is killed with SIGKILL in the middle, and the same command
resumes it. Every line of both logs is the same.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt

import gradinc

WORDS = ["model=mlp", "strategy=accumulate", "budget.epochs=6", "log.steps=1", "checkpoint.seconds=0.1", "threads=1"]
WORDS += ["progress=quiet", "device=cpu"]

alone = gradinc.train(*WORDS, "output=alone", "name=run")

command = [sys.executable, "-m", "gradinc", "train", *WORDS, "output=killed", "name=run"]
process = subprocess.Popen(command)
log = Path("killed/run/metrics.jsonl")
while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < 15):
    time.sleep(0.01)
process.send_signal(signal.SIGKILL)
process.wait()
killed_at = log.read_bytes().count(b"\n")
resumed = gradinc.train(*WORDS, "output=killed", "name=run")

same = log.read_bytes() == Path("alone/run/metrics.jsonl").read_bytes()
print(f"killed in the middle: {process.returncode == -signal.SIGKILL}, logs are the same bytes: {same}")
assert same

figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
x, y = alone.curves("train.loss")
axes.plot(x, y, linewidth=5, alpha=0.35, label="left alone")
x, y = resumed.curves("train.loss")
axes.plot(x, y, linewidth=1.2, label="killed and resumed")
axes.axvline(killed_at, color="#d55e00", linestyle=":", label="kill -9")
axes.set(xlabel="updates", ylabel="training loss", yscale="log")
axes.legend()
figure.savefig("resume.svg")
