"""Reconstruction of a run's training images from its gradients, for windows of more and more rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.base.randomness import generator
from gradinc.data.batch import Batch
from gradinc.data.input_space import InputSpace
from gradinc.data.stream import open_stream
from gradinc.runs.build import build_criterion, build_learner, build_model
from gradinc.runs.device import choose_device, pin
from gradinc.runs.trained import FinishedRun
from gradinc.studies.attacks.inversion import Inverted, Variant, invert

VARIANTS: tuple[Variant, ...] = get_args(Variant)


@dataclass(frozen=True)
class InversionSettings:
    """Settings of the inversion: the attacked weights and the adversary's effort.

    Attributes:
        windows: rows of each window.
        steps: steps of the optimizer that reconstructs the images.
        fresh: use the run's initial weights, not its last ones.
        variants: variants of the reconstruction.
    """

    windows: tuple[int, ...] = (1, 2, 4, 8, 16)
    steps: int = 400
    seed: int = 0
    fresh: bool = False
    device: str = "auto"
    variants: tuple[Variant, ...] = VARIANTS


@dataclass(frozen=True)
class Leak:
    """The reconstructions from one window.

    Attributes:
        originals: the images of the window, in input units, shape (rows, C, H, W).
        images: the reconstructions, in input units, each with the original that it fits best.
    """

    window: int
    variant: Variant
    found: Inverted
    originals: Tensor
    images: Tensor

    def document(self) -> dict[str, Any]:
        """Return the object for ``--json``."""
        ratios = self.found.psnr
        return {
            "window": self.window,
            "variant": self.variant,
            "psnr": float(ratios.mean()),
            "best": float(ratios.max()),
            "labels": self.found.labels,
            "distance": self.found.distance,
        }


def leaks(run: FinishedRun, settings: InversionSettings, watch: Callable[[], None] = lambda: None) -> list[Leak]:
    """Invert the gradients of some windows of a run's training rows, in float64 and evaluation mode.

    The gradient is the rule's result for the rows as one micro-batch, so for `dp` it is clipped and noisy. Changes by
    methods are left out, because an observer of the sum sees it before them. The run
    directory is only read.

    Raises:
        UserError: the run is not on one stream of images, or has fewer rows than a window needs.
    """
    criterion = run.config.criterion
    plain = criterion.name in ("auto", "cross_entropy") and criterion.class_weights is None
    if run.config.stream.name != "iid" or not plain or criterion.options.get("label_smoothing"):
        what = "is a run on tasks, or with another loss than the plain cross-entropy"
        raise UserError(str(run.path), what, "Invert one on a single stream with cross-entropy")
    run = replace(run, config=replace(run.config, dtype="float64"))
    device = choose_device(settings.device)
    pin(1 if run.config.threads == "auto" else int(run.config.threads), device)
    dataset = run.dataset(device=device)
    space = InputSpace.of(dataset).to(torch.float64)
    if max(settings.windows) > len(dataset.train):
        what = f"there are {len(dataset.train):,} training rows"
        raise UserError(f"--windows {max(settings.windows)}", what, "Give smaller windows")
    shift = torch.tensor(dataset.mean, device=device, dtype=torch.float64).view(-1, 1, 1)
    chosen = torch.randperm(len(dataset.train), generator=generator(settings.seed, "inversion", "rows"))
    found = []
    for rows in settings.windows:
        x, y = next(dataset.train.batches(chosen[:rows], rows))
        model, gradient = _gradient(run, settings, dataset, Batch(x, y, 0, float(rows)), device)
        for variant in settings.variants:
            random = generator(settings.seed, "inversion", variant, rows, device=device)
            inverted = invert(
                model, gradient, x, y, space, variant=variant, steps=settings.steps, random=random, watch=watch
            )
            originals, images = (image * space.std + shift for image in (x, inverted.x))
            found.append(Leak(rows, variant, inverted, originals, images))
    return found


def _gradient(
    run: FinishedRun, settings: InversionSettings, dataset: Any, batch: Batch, device: torch.device
) -> tuple[torch.nn.Module, list[Tensor]]:
    """Return the model, and the gradient of one window by the run's rule, one tensor for each layer."""
    model = build_model(run.config, run.shape, device)
    if not settings.fresh:
        model.load_state_dict(run.with_weights(best=False, device=device).state_dict())
    stream = open_stream(run.config, dataset)
    learner = build_learner(run.config, model, build_criterion(dataset), len(dataset.train), stream)
    learner.begin(stream[0])
    model.eval()
    learner.open(batch.items, 1)
    learner.take(batch)
    with torch.no_grad():
        learner.window.reduce(learner)
    layers = [layer.clone() for layer in learner.weights.views(learner.weights.grad)]
    if layers[-1].shape != (run.shape.outputs,):
        what = "has no bias in its last layer, which the labels are read from"
        raise UserError(f"model={run.config.model.name}", what, "Invert a run of another model")
    return model, layers


def picture(found: list[Leak], path: Any) -> None:
    """Write a PNG file with a line of originals and, below it, the reconstructions, for each leak.

    Raises:
        StorageError: it could not be written.
    """
    from io import BytesIO

    from PIL import Image

    from gradinc.base.files import write_whole

    widest = max(leak.window for leak in found)
    _, _, height, width = found[0].originals.shape
    zoom, gap = max(1, 48 // max(height, width)), 4
    page = torch.ones(3, len(found) * (2 * (height * zoom + 1) + gap), widest * (width * zoom + 1), dtype=torch.float64)
    top = 0
    for leak in found:
        for images in (leak.originals, leak.images):
            large = images.clamp(0, 1).cpu().repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
            for place, image in enumerate(large):
                left = place * (width * zoom + 1)
                page[:, top : top + height * zoom, left : left + width * zoom] = image[:3]
            top += height * zoom + 1
        top += gap
    file = BytesIO()
    Image.fromarray((page * 255).round().byte().permute(1, 2, 0).numpy()).save(file, "PNG")
    write_whole(path, file.getvalue())
