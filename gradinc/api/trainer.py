"""A callback for the Trainer of Hugging Face's transformers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn

from gradinc.api.gradients import Forward, Hook
from gradinc.base.errors import UserError
from gradinc.data.torchvision_import import import_torchvision

try:
    import_torchvision()  # transformers imports it too, and cannot if it was built for another torch
    import transformers
except ImportError as error:
    what = "needs transformers and accelerate, which are not installed"
    raise UserError("gradinc.api.trainer", what, 'pip install "gradinc[trainer]"') from error


class TrainerCallback(transformers.TrainerCallback):
    """A strategy of gradinc inside a ``transformers.Trainer``, for methods that change the window's gradient only.

    ``Trainer(…, callbacks=[TrainerCallback(strategy=["centralize", "clip"])])``. The window is the Trainer's
    ``gradient_accumulation_steps``. With ``max_grad_norm`` above 0 the Trainer clips before the strategy acts; set it
    to 0 and use ``clip`` to clip after the strategy's other methods. For strategies that look back, such as ``agem``,
    one callback serves the Trainers of all tasks, each inside ``with callback.task(rows): trainer.train()``.

    Args:
        words, keys: as for `gradinc.attach`, also ``criterion``, ``terms`` and ``tasks`` for methods that look back.
        forward: how these methods run the model on the inputs of a task's rows; by default ``model(x).logits``.
    """

    def __init__(self, *words: str | Mapping[str, Any], forward: Forward | None = None, **keys: Any) -> None:
        self._hook = Hook(words, forward or _logits, keys)

    def task(self, rows: Any = None) -> AbstractContextManager[None]:
        """Train on one task inside.

        Args:
            rows: the task's training rows, for methods that look back: as for `Attached.task`.
        """
        return self._hook.task(rows)

    def on_train_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        if args.world_size > 1 or args.fp16 or getattr(args, "deepspeed", None) or getattr(args, "fsdp", None):
            what = "has several processes, fp16 or sharded weights, and the callback needs whole gradients as they are"
            raise UserError("TrainingArguments", what, "Use one process with bf16 or float32")
        self._hook.start(parts["model"], parts["optimizer"])

    def on_step_begin(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self._hook.gradients.begin()

    def on_substep_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self._hook.gradients.begin()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self._hook.gradients.transform()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        self._hook.gradients.stepped()


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    out = model(x)
    found: Tensor = out if isinstance(out, Tensor) else out.logits
    return found
