"""The machine a run is on: device, threads, memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

from sarlab.errors import SarlabError
from sarlab.lab.results import processor


def pick_device(name: str) -> torch.device:
    """Device by name; ``"auto"`` is CUDA where there is one.

    Raises
    ------
    SarlabError
        If CUDA is asked for and missing.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SarlabError(f"unknown device '{name}'; use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SarlabError("no CUDA device on this machine; use --device cpu or auto")
    return device


def device_name(device: torch.device) -> str:
    """Name for tables: the GPU's, or the processor's."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory in MB: of the device's allocator on CUDA, of the process otherwise."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return process_peak_mb()


def process_peak_mb() -> float:
    """Peak memory of this process in MB.

    Linux passes the peak that `resource` tells on to child processes, so that of a small one would be its parent's.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except (OSError, ValueError):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
