"""All parts of a run from a checked config, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.base.text import counted
from gradinc.config.schema import Config, DataSection
from gradinc.core.criterion import Criterion
from gradinc.core.learner import Learner
from gradinc.core.order import check_shared
from gradinc.core.world import World, own_device, processes
from gradinc.data.dataset import Dataset
from gradinc.data.stream import Stream, open_stream
from gradinc.runs import device as devices
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model
from gradinc.runs.class_weights import with_class_weights
from gradinc.runs.fit import fitted, largest
from gradinc.runs.reading import encoding_of, load_rows


@dataclass(frozen=True)
class Prepared:
    """The parts of a config on this machine.

    Attributes:
        config: the config, with the micro-batch that ``strategy.window.micro_batch=auto`` has found.
        micro_batch: rows of this micro-batch; None if they were given.
    """

    config: Config
    micro_batch: int | None
    device: torch.device
    dataset: Dataset
    stream: Stream
    learner: Learner

    @property
    def shape(self) -> Shape:
        """Return the shapes that the model must fit."""
        return Shape.of(self.dataset, self.stream)


def prepare(config: Config, micro_batch: int | None = None) -> Prepared:
    """Choose the device, read the data and build the learner.

    Args:
        config: the run's config.
        micro_batch: rows that ``strategy.window.micro_batch=auto`` has found earlier. A run that resumes elsewhere
            keeps this value, and so its numbers.

    Raises:
        UserError: the config does not fit its data or its device.
    """
    devices.flush_denormals()  # set before the data are read, which starts threads
    device = devices.choose_device(own_device(config.device))
    read = partial(load_rows, config, device)
    dataset = read(config.data)
    stream = open_stream(config, dataset, read)
    _check_limits(config, dataset, stream)
    devices.pin(1, device)  # the initial state does not depend on the threads of training
    shape = Shape.of(dataset, stream)
    criterion = _criterion(config, dataset, stream)
    if config.strategy.window.micro_batch == "auto":
        if micro_batch is None or config.data.batch_size * config.strategy.window.size % micro_batch:
            micro_batch = largest(config, build_model(config, shape, device), criterion, stream[0].train)
        config = fitted(config, micro_batch)
    else:
        micro_batch = None
    model = build_model(config, shape, device)
    if config.init is not None:
        model.load_state_dict(_weights_to_start_from(config.init, model, device))
    world = World(*processes())
    learner = build_learner(config, model, criterion, stream.longest, stream, world)
    if not world.alone:
        check_shared(config, learner.methods)
        if config.stream.updates_per_batch > 1:
            where = f"stream.updates_per_batch={config.stream.updates_per_batch}"
            raise UserError(where, "is not divided between several processes", "Leave it out, or use one process")
    return Prepared(config, micro_batch, device, dataset, stream, learner)


def check(config: Config, outlined: Callable[[DataSection], Dataset]) -> None:
    """Refuse a config that does not fit its data, as `prepare` does, without reading inputs or using a device.

    Args:
        outlined: returns the outline of a data set.

    Raises:
        UserError: the config does not fit.
    """
    encoding, meta = encoding_of(config), torch.device("meta")

    def read(section: DataSection) -> Dataset:
        return outlined(section) if encoding is None else encoding.applied(outlined(section))

    dataset = read(config.data)
    stream = open_stream(config, dataset, read)
    _check_limits(config, dataset, stream)
    with meta:
        model = build_model(config, Shape.of(dataset, stream), meta)
    if config.init is not None:
        _weights_to_start_from(config.init, model, torch.device("cpu"))
    build_learner(config, model, _criterion(config, dataset, stream), stream.longest, stream)


def _criterion(config: Config, dataset: Dataset, stream: Stream) -> Criterion:
    chosen = with_class_weights(config.criterion, stream)
    return build_criterion(dataset, stream.outputs, chosen, stream.setting.outputs, config.metrics)


def _check_limits(config: Config, dataset: Dataset, stream: Stream) -> None:
    if config.budget.accuracy is not None and dataset.classes is None:
        where = f"budget.accuracy={config.budget.accuracy}"
        raise UserError(where, f"{config.data.name} has no classes", "Use budget.epochs or budget.steps")
    if config.budget.accuracy is not None and len(dataset.validation) == 0:
        raise UserError(
            f"budget.accuracy={config.budget.accuracy}", "there are no validation rows", "Set data.validation=0.1"
        )
    if config.budget.tokens is not None and dataset.text is None:
        where = f"budget.tokens={config.budget.tokens}"
        raise UserError(where, f"{config.data.name} has no tokens", "Use budget.samples or budget.epochs")
    if config.data.group_by_length and dataset.text is None and encoding_of(config) is None:
        what = f"the rows of {config.data.name} have one length"
        raise UserError("data.group_by_length=true", what, "Leave it out, or use data of text")
    _check_samples(config, stream)
    part = config.evaluate.rows
    for task in range(stream.tested):
        if stream.size(part, task) == 0:
            of, fewer = (f" of task {task + 1}", ", or use fewer tasks") if stream.is_sequence else ("", "")
            what, fix = f"there are no {part} rows{of}", f"Set a larger data.{part}{fewer}"
            raise UserError(f"evaluate.rows={part}", what, fix)


def _check_samples(config: Config, stream: Stream) -> None:
    if (most := config.stream.samples_per_task) is None:
        return
    largest = max(stream.size("train", task) for task in range(stream.tested))
    if most > largest:
        has = f"{'the largest task has' if stream.is_sequence else 'there are'} {counted(largest, 'training row')}"
        raise UserError(f"stream.samples_per_task={most}", has, f"Use {largest} at most, or leave it out")


def _weights_to_start_from(init: str, model: nn.Module, device: torch.device) -> dict[str, Tensor]:
    from gradinc.runs.saved_weights import last_weights

    weights = last_weights(init, device)
    own = model.state_dict()
    for name in [*own, *weights]:
        mine, theirs = own.get(name), weights.get(name)
        if mine is None or theirs is None or mine.shape != theirs.shape:
            shapes = [None if t is None else tuple(t.shape) for t in (mine, theirs)]
            what = f"its weight {name} is {shapes[1] or 'missing'}, this model's is {shapes[0] or 'missing'}"
            raise UserError(f"init={init}", what, "Use the model and the kind of data that the run was trained with")
    return weights
