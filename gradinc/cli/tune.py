"""``gradinc tune``: search for the values of a run's options."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.base.text import print_columns, printable
from gradinc.cli.arguments import Parser, check_counts

_EXAMPLES = """\
  gradinc tune rates.yaml model=mlp
  gradinc tune rates.yaml --n-jobs 2 --trials 40

rates.yaml:
  space:
    optimizer.lr: {low: 0.001, high: 1.0, log: true}
    strategy.window.size: {low: 1, high: 8}
    model.activation: [relu, gelu]
  base: [model=mlp, budget.epochs=5]
  mode: validation    # or first-tasks (with tasks: 2), or other-data (with other: [data=…])

Trials are scored on validation data: of the same set, of the stream's first tasks, or of another set; never on test
rows. search=outputs/rates adds the search to the record of a run. The same command resumes a stopped search."""


def main(arguments: Sequence[str]) -> int:
    """Search, and print the best values and the command that trains with them."""
    options = _parser().read(arguments)
    from gradinc.config.check import value
    from gradinc.config.schema import RunName
    from gradinc.studies.tune.space import read_space

    path = Path(options.space)
    name = value(RunName, options.name or path.stem, "--name")
    if options.n_jobs == 0:
        raise UserError("--n-jobs 0", "no trial would ever run", "Give 1 or more, or -1 for all processors")
    config_dirs = [Path(folder) for folder in options.config_dir]
    space, jobs = read_space(path, options.overrides, config_dirs)
    if options.trials is not None:
        check_counts(options, "trials")
        space = space.model_copy(update={"trials": options.trials})
    from gradinc.base.signals import interruption
    from gradinc.base.streams import going_on
    from gradinc.studies.sweep.fit import check_fit
    from gradinc.studies.tune.study import Search

    check_fit(jobs)
    search = Search(space, Path(jobs[0].config.output) / name, options.seed, ["tune", *arguments], config_dirs)

    def say(line: str) -> None:
        if not options.quiet:
            print(printable(line), flush=True)

    with going_on(), interruption() as stop, closing(search):
        say(f"{space.trials} trials in {search.folder}, scored on {space.judged_by()}")
        stop.deferred = True
        search.run(options.n_jobs, stop, say)
    if stop.signum:
        print(f"Finished trials are saved. Resume with: {shlex.join(['gradinc', 'tune', *arguments])}")
        return 128 + stop.signum
    best = search.best()
    if best is None:
        raise UserError(str(search.folder), "no trial finished", "See error.log in its runs")
    print_columns([["key", "best value"], *([key, f"{item}"] for key, item in space.tried(best.params).items())])
    print(f"score {best.value:.4f}, scored on {space.judged_by()}")
    print(f"next: {shlex.join(['gradinc', 'train', *search.result()])}")
    return 0 if len(search.ended()) >= space.trials else 1


def _parser() -> Parser:
    parser = Parser("tune", "Search for the values of a run's options.", _EXAMPLES)
    parser.add_argument("space", help="YAML file of the search space")
    parser.add_argument("overrides", nargs="*", help="key=value arguments of every run")
    parser.add_argument("--trials", type=int, help="number of trials in all (default: the file's)")
    parser.add_argument("--n-jobs", type=int, default=1, help="trials at a time; -1 is one for each processor")
    parser.add_argument("--seed", type=int, default=0, help="seed of the proposed values")
    parser.add_argument("--name", help="folder of the search under output (default: the file's name)")
    parser.add_argument("--config-dir", "-cd", action="append", default=[], help="a folder of YAML files of your own")
    return parser
