"""A device that is not the CPU, without a GPU: its tensors have shapes and no numbers.

Tensors of the CPU are computed as ever. What is moved to `DEVICE` becomes PyTorch's fake tensors, which refuse to be
mixed with others. A read of a number, which would make a CPU wait for a GPU, is recorded and gives a stand-in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.optim.optimizer as optimizers
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gradinc.data.rows import TensorRows
from gradinc.data.task import Task
from gradinc.studies.bench.cpu_draws import CpuGenerator

DEVICE = torch.device("meta")
"""Its name: fake tensors of ``cuda`` end a process whose PyTorch has no CUDA."""

aten = torch.ops.aten
CONSTANTS = (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor)
COPIES = (aten._to_copy.default, aten.copy_.default, aten._foreach_copy_.default)
READS: dict[Any, Callable[[Tensor], Any]] = {
    aten._local_scalar_dense.default: lambda x: {torch.bool: True}.get(x.dtype, 1.0 if x.is_floating_point() else 1),
    aten.nonzero.default: lambda x: torch.zeros(x.numel(), x.dim(), dtype=torch.int64, device=DEVICE),
    aten._unique2.default: lambda x: (x.flatten(), torch.zeros_like(x), torch.zeros_like(x)),
    aten.equal.default: lambda x: True,
}
"""Operations whose result, or its shape, depends on numbers: what stands in for it."""


class Mixed(AssertionError):
    """Tensors, or a tensor and a generator, of two devices."""


class _Operations(TorchDispatchMode):
    """Computes what is on the CPU and fakes what is on `DEVICE`."""

    def __init__(self, waited: Callable[[str], None]) -> None:
        super().__init__()
        self.waited, self.fake = waited, FakeTensorMode(allow_non_fake_inputs=True)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        fake = [each for each in tensors if isinstance(each, FakeTensor)]
        to = kwargs.get("device")
        made = fake[0].device if fake and to is None else torch.device(to or "cpu")
        if not fake and made != DEVICE:
            return func(*args, **kwargs)
        if func in READS:
            self.waited(str(func))
            with self.fake:
                return READS[func](args[0])
        if func is aten.index.Tensor:
            args = (args[0], [self._places(index) for index in args[1]])
        if func is aten._to_copy.default and to is not None and torch.device(to) != args[0].device:
            self._blocks(func, fake, kwargs.get("non_blocking"))
            if fake:
                return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if func is aten.copy_.default and args[0].device != args[1].device:
            self._blocks(func, fake if args[1] is fake[0] else [], (args[2:] or (False,))[0])
            if args[0] is not fake[0]:
                return args[0]
        if func not in COPIES and any(each.dim() and not isinstance(each, FakeTensor) for each in tensors):
            raise Mixed(f"{func} has tensors of two devices")
        if func.name().startswith("aten::_fused_"):  # in place, and without a fake form
            return None
        with self.fake:
            return func(*args, **kwargs)

    def _blocks(self, func: Any, read: list[Any], non_blocking: bool) -> None:
        """A copy to the CPU always waits; one from the CPU only if it blocks."""
        if read or not non_blocking:
            self.waited(f"{func} {'to' if read else 'from'} the CPU")

    def _places(self, index: Tensor | None) -> Tensor | None:
        """A mask selects an unknown number of rows: here all of them."""
        if index is None or index.dtype != torch.bool:
            return index
        self.waited("a mask as an index")
        with self.fake:
            return torch.arange(len(index), device=DEVICE)


class _Functions(TorchFunctionMode):
    """Notices what operations do not show: generators, and tensors of numbers of the host, which PyTorch copies."""

    def __init__(self, waited: Callable[[str], None]) -> None:
        super().__init__()
        self.waited = waited

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        generator = kwargs.pop("generator", None)
        if generator is not None:
            place = next((each.device for each in args if isinstance(each, Tensor)), kwargs.get("device", "cpu"))
            if generator.device != torch.device(place):
                raise Mixed(f"{func.__name__}: a generator of {generator.device} draws on {place}")
            if generator.device != DEVICE:
                kwargs["generator"] = generator
        made = func(*args, **kwargs)
        if func in CONSTANTS and made.device == DEVICE:
            self.waited(f"{func.__name__} on the device")
            return torch.empty(made.shape, dtype=made.dtype, device=DEVICE)  # the same as a fake tensor
        return made


class Elsewhere:
    """The device, inside `here`.

    Attributes:
        waits: what a CPU would have waited for inside `watch`.
    """

    def __init__(self) -> None:
        self.waits: list[str] = []
        self._watching = False

    @contextmanager
    def here(self) -> Iterator[None]:
        fused, own = optimizers._get_fused_kernels_supported_devices, torch.Generator
        optimizers._get_fused_kernels_supported_devices = lambda: [*fused(), DEVICE.type]
        torch.Generator = CpuGenerator
        try:
            with _Functions(self._waited), _Operations(self._waited):
                yield
        finally:
            optimizers._get_fused_kernels_supported_devices, torch.Generator = fused, own

    @contextmanager
    def watch(self) -> Iterator[None]:
        self._watching = True
        try:
            yield
        finally:
            self._watching = False

    def _waited(self, what: str) -> None:
        if self._watching:
            self.waits.append(what)


def moved(task: Task) -> Task:
    """A task with its rows on the device, to be called in `Elsewhere.here`."""
    parts = {name: _rows(getattr(task, name)) for name in ("train", "validation", "test")}
    return replace(task, tasks=None if task.tasks is None else task.tasks.to(DEVICE), **parts)


def _rows(rows: Any) -> TensorRows:
    served = list(rows.chunks(10**6)) or [(torch.zeros(0, *rows.shape, dtype=torch.float64), rows.y)]
    return TensorRows(*(torch.cat(each).to(DEVICE) for each in zip(*served, strict=True)))
