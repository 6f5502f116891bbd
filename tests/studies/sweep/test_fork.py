"""Workers are copies of the sweep's process if copying it is safe, and new processes otherwise."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from command import ENVIRONMENT

from gradinc.studies.sweep.fork import can_fork

PROGRAM = """
import os, signal, sys
from pathlib import Path
from gradinc.config.code import code_digests
from gradinc.config.compose import compose_jobs
from gradinc.studies.sweep.process import start_workers
from gradinc.studies.sweep.shipment import Shipment

first, second = compose_jobs(["model=linear", "budget.steps=2", "seed=0,1"], multirun=True)
HOW
kept = open("kept", "w")
workers = start_workers(2, ["cpu", "cpu"])
begun = []

def run(worker, job, number):
    document = job.config.document
    shipment = Shipment(number, document, code_digests(document), os.getcwd(), str(job.directory), ())
    def told(message):
        if "begun" in message:
            begun.append(message["begun"])
            opened = [os.readlink(path) for path in Path(f"/proc/{begun[-1]}/fd").iterdir()]
            assert not any(path.endswith("/kept") for path in opened), opened
            assert os.getpgid(begun[-1]) == begun[-1] != os.getpgid(0)
    return worker.run(shipment, told, lambda: 0)

assert [run(worker, job, 0).code for worker, job in zip(workers, (first, second))] == [0, 0]
copies = ["start_workers" in Path(f"/proc/{pid}/cmdline").read_text() for pid in begun]
os.kill(begun[0], signal.SIGKILL)
os.waitid(os.P_PID, begun[0], os.WEXITED | os.WNOWAIT)
assert run(workers[0], first, 0).code == 0, "a worker that died is replaced by a new process"
assert "start_workers" not in Path(f"/proc/{begun[2]}/cmdline").read_text()
for worker in workers:
    worker.close()
print(copies)
"""


@pytest.mark.parametrize("torch_is_loaded", [False, True])
def test_workers_are_copies_where_that_is_safe(torch_is_loaded: bool, tmp_path: Path) -> None:
    """torch may have started threads in a process that has used it, and a copy has their locks without them."""
    words = [sys.executable, "-c", PROGRAM.replace("HOW", "import torch" if torch_is_loaded else "")]
    done = subprocess.run(words, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{[not torch_is_loaded] * 2}\n", "")


def test_a_process_with_a_thread_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    over = threading.Event()
    threads = threading.active_count()
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        assert not can_fork()
    finally:
        over.set()
        other.join()
    assert can_fork() == (threads == 1)


def test_a_sweep_needs_no_extra_and_its_workers_import_no_trainer(tmp_path: Path) -> None:
    program = """
import sys
sys.modules |= {"lightning": None, "transformers": None, "datasets": None}
from gradinc.studies.sweep.worker import load_all
load_all()
assert "gradinc.runs.build" in sys.modules
print([name for name in sys.modules if name.startswith("gradinc.api")])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
