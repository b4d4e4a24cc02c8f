"""The machine: cores, threads of child processes, and a check of the installation."""

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from sarlab.lab.results import processor

#: Disk space of a report with its runs, and memory of the quick plan, in GB.
FREE_GB, MEMORY_GB = 2.0, 4.0


def cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(psutil.Process(), "cpu_affinity", None)
    return len(affinity()) if affinity else os.cpu_count() or 1


@contextlib.contextmanager
def inherited_threads(threads: int) -> Iterator[dict[str, str]]:
    """Give the libraries of NumPy `threads` threads in processes started inside the block; yields the variables for it."""
    values = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield values
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class Finding(NamedTuple):
    """One line of the diagnosis: topic, name, state, True if there is no problem, and advice."""

    topic: str
    name: str
    state: str
    ok: bool = True
    advice: str = ""


def diagnose() -> list[Finding]:
    """Check machine, libraries, codecs, and the working directory."""
    from sarlab.peers import codec_table

    codecs = [Finding("codecs", c["name"], c["version"] or "not available", True, c["reason"]) for c in codec_table()]
    return [*check_machine(), *check_packages(), *codecs, *check_folder(Path.cwd())]


def check_machine() -> list[Finding]:
    """Python, processor, memory, GPU."""
    supported, memory = (3, 11) <= sys.version_info[:2] <= (3, 13), psutil.virtual_memory().total / 1e9
    little = "" if memory >= MEMORY_GB else f"the quick plan takes up to {MEMORY_GB:g} GB; run it with --workers 1"
    gpu, advice = "unknown without torch", ""
    with contextlib.suppress(ImportError):
        import torch

        if torch.cuda.is_available():
            gpu = torch.cuda.get_device_name(0)
        elif torch.version.cuda is None:
            gpu = "not used: this torch is a build for CPUs; only the plan 'full' needs a GPU"
        else:
            gpu = f"none found, though torch is built for CUDA {torch.version.cuda}"
            advice = f"install a driver for CUDA {torch.version.cuda}; 'nvidia-smi' shows the present one"
    python = "" if supported else "use Python 3.11 to 3.13"
    return [
        Finding("machine", "Python", platform.python_version(), supported, python),
        Finding("machine", "processor", f"{processor()}, {cores()} cores"),
        Finding("machine", "memory", f"{memory:.1f} GB", not little, little),
        Finding("machine", "GPU", gpu, True, advice),
    ]


def check_packages() -> list[Finding]:
    """Versions of the libraries that sarlab requires, and how to install missing ones."""
    found = []
    for requirement in importlib.metadata.requires("sarlab") or []:
        name, extra = re.findall(r"^[\w.-]+", requirement)[0], re.findall(r"""extra == ["'](\w+)""", requirement)
        if extra == ["dev"]:
            continue
        try:
            found.append(Finding("packages", name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            way = f"pip install 'sarlab[{extra[0]}]'" if extra else f"pip install {name}"
            found.append(Finding("packages", name, "missing", bool(extra), way))
    return found


def check_folder(folder: Path) -> list[Finding]:
    """Permission and free space for runs."""
    writable, free = os.access(folder, os.W_OK), shutil.disk_usage(folder).free / 1e9
    advice = "" if writable else "change to a folder that you may write to, or give --runs and --out"
    room = "" if free >= FREE_GB else f"a report with its runs takes up to {FREE_GB:g} GB; make room or give --runs"
    return [
        Finding("folders", "working directory", "writable" if writable else "read-only", writable, advice),
        Finding("folders", "free space", f"{free:.1f} GB", free >= FREE_GB, room),
    ]
