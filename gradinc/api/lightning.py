"""A callback for the Trainer of Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn

from gradinc.api.gradients import Forward, Hook
from gradinc.base.errors import UserError
from gradinc.data.torchvision_import import import_torchvision

try:
    import_torchvision()  # Lightning imports it too, and cannot if it was built for another torch
    from lightning.pytorch import Callback
except ImportError as error:
    what = "needs lightning, which is not installed"
    raise UserError("gradinc.api.lightning", what, 'pip install "gradinc[lightning]"') from error


class LightningCallback(Callback):
    """A strategy of gradinc inside a Lightning Trainer, for methods that change the window's gradient only.

    ``Trainer(…, callbacks=[LightningCallback(strategy=["centralize"])])``, for one optimizer with automatic
    optimization. The window is the Trainer's ``accumulate_grad_batches``, which divides each loss by their number.
    With ``gradient_clip_val`` Lightning clips after the strategy has acted. For strategies that look back, one callback
    serves all tasks, each inside ``with callback.task(rows): trainer.fit(…)``.

    Args:
        words, keys: as for `gradinc.attach`, also ``criterion``, ``terms`` and ``tasks`` for methods that look back.
        forward: how these methods run the module on the inputs of a task's rows; by default ``module(x)``.
    """

    def __init__(self, *words: str | Mapping[str, Any], forward: Forward | None = None, **keys: Any) -> None:
        self._hook = Hook(words, forward or _outputs, keys)
        self._changed = False

    def task(self, rows: Any = None) -> AbstractContextManager[None]:
        """Train on one task inside.

        Args:
            rows: the task's training rows, for methods that look back: as for `Attached.task`.
        """
        return self._hook.task(rows)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.world_size > 1 or not pl_module.automatic_optimization or len(trainer.optimizers) != 1:
            what = "has several processes or optimizers, or manual optimization"
            raise UserError("Trainer", what, "Use one process, one optimizer and automatic optimization")
        if str(trainer.precision) == "16-mixed":
            raise UserError("Trainer", "scales gradients with precision=16-mixed", "Use bf16-mixed or 32-true")
        self._hook.start(pl_module, trainer.optimizers[0])

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._hook.gradients.begin()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self._hook.gradients.transform()
        self._changed = True

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._changed:
            self._hook.gradients.stepped()
            self._changed = False


def _outputs(module: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = module(x)
    return found
