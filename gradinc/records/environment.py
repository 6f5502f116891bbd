"""Facts that a run's last bits depend on besides its config: software, processor, instructions. Imports no torch."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

ENVIRONMENT = ("python", "torch", "processor", "cpu", "instructions", "denormals", "variables", "device", "threads")
"""Facts that each start of a run records."""

YOUNGER_FACTS = ("cpu", "instructions", "denormals", "variables")
"""Facts that older records lack, so that a change cannot be detected."""

CPU_VARIABLES = (
    # kernels that PyTorch, oneDNN, MKL, OpenBLAS, NumPy and the C library choose for a processor
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_CPU_ISA_HINTS",
    "DNNL_CPU_ISA_HINTS",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_DEBUG_CPU_TYPE",
    "OPENBLAS_CORETYPE",
    "BLIS_ARCH_TYPE",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "GLIBC_TUNABLES",
    # lower precision
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    # number of threads that share a sum, if not set by PyTorch
    "MKL_DYNAMIC",
    "OMP_DYNAMIC",
    "OMP_SCHEDULE",
    "OMP_THREAD_LIMIT",
    "KMP_DETERMINISTIC_REDUCTION",
)
"""Environment variables that select other arithmetic on a processor."""

CUDA_VARIABLES = (
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUBLAS_EMULATE_SINGLE_PRECISION",
    "CUBLAS_EMULATE_DOUBLE_PRECISION",
    "CUBLAS_EMULATION_STRATEGY",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "DISABLE_ADDMM_CUDA_LT",
    "TORCH_LINALG_PREFER_CUSOLVER",
    "TORCH_LINALG_PREFER_MAGMA",
)
"""Environment variables that select other arithmetic on a GPU."""

IDENTITY = (
    "vendor_id", "cpu family", "model", "stepping",
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision",
)  # fmt: skip
"""Fields of ``/proc/cpuinfo`` that distinguish processors of the same name."""


def processor() -> str:
    """Return the processor's name; different processors can share a name, for example ``AMD EPYC``."""
    names = [block["model name"] for block in _processors() if "model name" in block]
    return names[0] if names else platform.processor() or platform.machine()


def cpu() -> str:
    """Return the processor by its maker's numbers, such as ``GenuineIntel family 6 model 167 stepping 1``."""
    blocks = [[(key, block[key]) for key in IDENTITY if key in block] for block in _processors()]
    found = [" ".join(f"{key.split()[-1]} {value}" for key, value in block) for block in blocks if block]
    # A processor may have cores of several kinds.
    return " + ".join(dict.fromkeys(each.removeprefix("vendor_id ") for each in found)) or platform.machine()


def variables(*, on_gpu: bool) -> str:
    """Return the environment variables that select other arithmetic and are set: ``NAME=value``, or ``none``."""
    names = CPU_VARIABLES + (CUDA_VARIABLES if on_gpu else ())
    return " ".join(f"{name}={os.environ[name][:100]}" for name in names if name in os.environ) or "none"


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return the facts that differ from an earlier start of a run: name, old value and new value."""
    names = (name for name in now if name in before or name not in YOUNGER_FACTS)
    return [(name, before.get(name), now[name]) for name in names if before.get(name) != now[name]]


def _processors() -> list[dict[str, str]]:
    """Return the system's fields of each processor; empty if there are none."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            blocks = file.read().strip().split("\n\n")
    except OSError:
        return []
    pairs = ([line.partition(":") for line in block.splitlines()] for block in blocks)
    return [{key.strip(): value.strip() for key, _, value in block} for block in pairs]
