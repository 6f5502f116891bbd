"""A search: Optuna proposes, workers run, and a journal stores the results, so that the same command resumes."""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import filelock

from gradinc.base.errors import UserError
from gradinc.base.files import check_plain, storing, write_json
from gradinc.base.signals import Interruption
from gradinc.config.code import code_digests
from gradinc.config.compose import Job
from gradinc.config.composer import Composer
from gradinc.config.identity import strategy_label
from gradinc.config.names import shown
from gradinc.config.overrides import parse
from gradinc.config.parts_folder import with_options
from gradinc.records.log import read_log
from gradinc.records.recorded import RecordedRun
from gradinc.records.schemas import read_json
from gradinc.records.seal import CHANGED, SEAL, check_seal, is_intact, seal
from gradinc.records.search import SEARCH_FILE
from gradinc.studies.sweep.gpus import dealt
from gradinc.studies.sweep.process import Worker
from gradinc.studies.sweep.shipment import Shipment
from gradinc.studies.tune.journal import JOURNAL, ThreadLock, cut_back, damaged_journal
from gradinc.studies.tune.space import Space
from gradinc.studies.tune.trial import TrialWatch

Say = Callable[[str], None]


class Search:
    """A search in its folder, which also contains its runs.

    Args:
        space: the search space.
        folder: its folder.
        seed: seed of the proposed values.
        arguments: the command line.
        config_dirs: the user's configuration folders.

    Raises:
        UserError: optuna is missing, or the folder holds another search; nothing was created.
    """

    def __init__(
        self, space: Space, folder: Path, seed: int, arguments: Sequence[str], config_dirs: Sequence[Path]
    ) -> None:
        self.space, self.folder, self.arguments, self.config_dirs = space, folder, arguments, config_dirs
        self._composer = Composer(config_dirs)
        self._lock = threading.Lock()
        self._journal = ThreadLock()
        self._workers: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        try:
            import optuna
        except ImportError:
            raise UserError("gradinc tune", "needs optuna", "Install it with pip install optuna") from None
        self._optuna: Any = optuna
        self._check_folder()
        self._hold()
        try:
            self._open(seed)
        except BaseException:
            self.close()
            raise

    def _check_folder(self) -> None:
        document = {key: item for key, item in self.space.model_dump().items() if key != "trials"}
        for name in (SEARCH_FILE, JOURNAL, ".lock"):
            check_plain(self.folder / name, "where a search writes", "or use another --name")
        record = read_json(self.folder / SEARCH_FILE) or {}
        before = record.get("search")
        if isinstance(before, dict) and before != document and not is_intact(record):
            raise UserError(str(self.folder / SEARCH_FILE), CHANGED, "Restore it, or use another --name")
        if isinstance(before, dict) and before != document:
            key = next(key for key in {**document, **before} if before.get(key) != document.get(key))
            raise UserError(str(self.folder), f"holds a search with another {key}", "Use another --name")
        names = {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()
        if not isinstance(before, dict) and names & {SEARCH_FILE, JOURNAL}:
            what = "is missing or damaged, so that the searched values are not known"
            raise UserError(str(self.folder / SEARCH_FILE), what, "Restore it, or use another --name")
        if not isinstance(before, dict) and any(not name.startswith(".") for name in names):
            raise UserError(str(self.folder), "is not the folder of a search", "Use another --name")
        with storing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        if before is None:
            self._keep({"search": document})

    def _hold(self) -> None:
        """Lock the folder until `close` or the end of this process, so that open trials can only be of an ended search.

        Raises:
            UserError: another search holds it.
        """
        self._held = filelock.FileLock(self.folder / ".lock")
        with storing(self.folder / ".lock"):
            try:
                self._held.acquire(blocking=False)
            except filelock.Timeout:
                what, fix = "is in use by another search", "Wait for it, or use another --name"
                raise UserError(str(self.folder), what, fix) from None

    def close(self) -> None:
        """Release the folder for other searches."""
        self._held.release()

    def _open(self, seed: int) -> None:
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        journal = self.folder / JOURNAL
        with storing(journal):
            self._check_journal(journal)
            cut_back(journal)
            try:
                self._load(journal)
            except OSError:
                raise
            except Exception as error:  # Optuna does not check the file, and fails in many ways if it is damaged
                raise damaged_journal(journal, f"{type(error).__name__} in Optuna") from error
        optuna = self._optuna
        self.study.sampler = optuna.samplers.TPESampler(
            seed=seed + len(self.study.get_trials()), constant_liar=True, n_startup_trials=8
        )

    def _check_journal(self, journal: Path) -> None:
        """Check that the journal begins with its sealed content.

        Without the journal the search begins anew. A ``tune.json`` that is damaged is made again from the journal.

        Raises:
            UserError: the journal was changed.
        """
        record = read_json(self.folder / SEARCH_FILE) or {}
        if not journal.exists() or not is_intact(record):
            self._keep({"search": record["search"]})
        elif check_seal(record, self.folder, growing=True):
            raise damaged_journal(journal, f"it {CHANGED}")

    def _load(self, journal: Path) -> None:
        optuna = self._optuna
        # Optuna's own lock is a file: a killed search would leave it behind, and the next search would wait for it.
        backend = optuna.storages.journal.JournalFileBackend(str(journal), lock_obj=self._journal)
        self.study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name=self.folder.name,
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
        )
        for trial in self.ended():
            known = set(trial.params) <= set(self.space.space) and set(trial.params) == self._fitting(trial.params)
            if not known or not math.isfinite(trial.value):
                raise ValueError(f"trial {trial.number} is not one of this search")
        states = optuna.trial.TrialState
        for trial in self.study.get_trials(states=(states.RUNNING,)):  # by a search that was stopped or killed
            self.study.enqueue_trial(trial.params)
            self.study.tell(trial.number, state=states.FAIL)

    def ended(self) -> list[Any]:
        """The trials that have a score."""
        states = self._optuna.trial.TrialState
        return list(self.study.get_trials(states=(states.COMPLETE, states.PRUNED)))

    def run(self, n_jobs: int, stop: Interruption, say: Say) -> None:
        """Run the remaining trials."""
        import joblib

        left = self.space.trials - len(self.ended())
        if left <= 0:
            self._write()  # a search that was killed after its last trial has not written it
            return
        count = min(joblib.effective_n_jobs(n_jobs), left)
        for environment in dealt(count, [self.job(next(self.space.corners())).config.device]):
            self._workers.put(Worker(environment))
        try:
            tasks = (joblib.delayed(self._one)(stop, say) for _ in range(left))
            joblib.Parallel(n_jobs=count, backend="threading", batch_size=1, pre_dispatch="n_jobs")(tasks)
        finally:
            while not self._workers.empty():
                self._workers.get().close()
        self._write()

    def _one(self, stop: Interruption, say: Say) -> None:
        if stop.signum:
            return
        with self._lock:
            trial = self.study.ask()
            job = self.job(self.space.values(trial, self._fitting))
        states = self._optuna.trial.TrialState
        watch = TrialWatch(self.space, trial, job)
        worker = self._workers.get()
        try:
            shipment = Shipment(
                trial.number,
                job.config.document,
                code_digests(job.config.document),
                os.getcwd(),
                str(job.directory),
                tuple(self.arguments),
            )
            ending = worker.run(shipment, watch.told, lambda: stop.signum or watch.stop)
        finally:
            self._workers.put(worker)
        values = " ".join(f"{key}={value}" for key, value in self.space.tried(trial.params).items())
        label = f"[{trial.number + 1}] {values}:"
        watch.look()
        if stop.signum and not watch.stop and ending.code:
            say(f"{label} interrupted")  # the trial stays open, and is trained first when the search resumes
        elif watch.now is None or (ending.code and not watch.stop):
            with self._lock:
                self.study.tell(trial, state=states.FAIL)
                self.seal_journal()
            say(f"{label} failed. {ending.line}")
        else:
            with self._lock:
                pruned = watch.pruned
                self.study.tell(trial, None if pruned else watch.now.score, state=states.PRUNED if pruned else None)
                self.seal_journal()
            say(f"{label} {'pruned at' if pruned else 'score'} {watch.now.score:.4f}")

    def job(self, values: dict[str, Any]) -> Job:
        """The run of a trial, in the search's folder."""
        where = [f"output={self.folder}", "name=null"]
        assignments = self._composer.single([*self.space.arguments(values), *where])
        return Job((), *self._composer.run(self._composer.fitting(assignments)))

    def _fitting(self, values: dict[str, Any]) -> set[str]:
        """Return the keys of the space whose parts exist in a run with these values."""
        arguments = self.space.arguments({**next(self.space.corners()), **self.space.tried(values)})
        kept = self._composer.fitting(self._composer.single(arguments))
        return {a.key for a in kept} & set(self.space.space)

    def best(self) -> Any | None:
        """Return the trial with the highest score, or None if no trial has finished."""
        complete = [trial for trial in self.ended() if trial.value is not None and trial.state.name == "COMPLETE"]
        return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)

    def result(self) -> list[str]:
        """Return the arguments of the final run: the best values, on data that were not used for scoring."""
        best = self.best()
        if best is None:
            return []
        words = [*self.space.base, *(f"{key}={shown(value)}" for key, value in self.space.tried(best.params).items())]
        kept = {a.key for a in self._composer.fitting(self._composer.single(words))}
        words = [word for word in words if parse(word, self.config_dirs).key in kept]
        if self.space.mode == "first-tasks":
            words.append(f"stream.scored_tasks={self._scored(best)}")
        folders = [*with_options(), *(f"--config-dir={folder}" for folder in self.config_dirs)]
        return [*folders, *words, f"search={self.folder}"]

    def _scored(self, best: Any) -> int | None:
        """Return the number of tasks that the result's metrics may include, if trials are scored on the first tasks."""
        if self.space.mode != "first-tasks":
            return None
        run = self.job(self.space.tried(best.params)).directory
        if (damage := RecordedRun.open(run).damage) is not None:
            fix = f"Restore it, or remove {run} and {self.folder / JOURNAL} and run the same command again"
            raise UserError(str(run / damage[0]), damage[1], fix)
        rows = [line["row"] for line in read_log(run / "metrics.jsonl") if isinstance(line.get("row"), list)]
        if not rows:
            fix = f"Restore it, or remove {run} and {self.folder / JOURNAL} and run the same command again"
            raise UserError(str(run / "metrics.jsonl"), "is missing or damaged", fix)
        return len(rows[0]) - self.space.tasks

    def _write(self) -> None:
        best = self.best()
        before = read_json(self.folder / SEARCH_FILE) or {}
        record = dict(before)
        record["judged_by"] = {"mode": self.space.mode, "what": self.space.judged_by()}
        record["trials"] = [
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "score": trial.value,
                "values": self.space.tried(trial.params),
            }
            for trial in self.study.get_trials()
        ]
        if best is None:
            record["best"] = None
        else:
            values = self.space.tried(best.params)
            record["best"] = {"score": best.value, "values": values, "run": self.result()}
            if "strategy" in values:  # this is a file's name, and several files can choose the same methods
                record["best"]["strategy"] = strategy_label(self.job(values).config.document)
            record["best"] |= {} if (scored := self._scored(best)) is None else {"scored_tasks": scored}
        if record != before or SEAL not in before or not is_intact(before):
            self._keep(record)

    def seal_journal(self) -> None:
        """Seal the journal's current content."""
        self._keep(read_json(self.folder / SEARCH_FILE) or {})

    def _keep(self, record: dict[str, Any]) -> None:
        """Write ``tune.json`` with a seal that covers it and the journal."""
        self._journal.acquire()  # no line is half written
        try:
            record = seal(record, self.folder, [JOURNAL] if (self.folder / JOURNAL).exists() else [])
        finally:
            self._journal.release()
        write_json(self.folder / SEARCH_FILE, record)
