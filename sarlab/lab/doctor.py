"""What this installation can do: versions, devices, codecs, notebooks, and how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from sarlab.lab.results import processor

#: Package to import → (distribution, what it is for, extra of sarlab that brings it).
PACKAGES = {
    "torch": ("torch", "networks", ""),
    "rasterio": ("rasterio", "GeoTIFF", ""),
    "imagecodecs": ("imagecodecs", "classical codecs", ""),
    "constriction": ("constriction", "range coding", ""),
    "safetensors": ("safetensors", "weights", ""),
    "skimage": ("scikit-image", "metrics", ""),
    "papermill": ("papermill", "notebooks as runs", "lab"),
    "jupyterlab": ("jupyterlab", "exploring by hand", "lab"),
    "jupytext": ("jupytext", "notebooks as text", "lab"),
    "ipywidgets": ("ipywidgets", "explorers", "lab"),
    "jupyter_book": ("jupyter-book", "the report", "book"),
    "seaborn": ("seaborn", "figures", "book"),
    "distributed": ("distributed", "sweeps on a cluster", "dask"),
}
#: A report and its runs take about this much.
FREE_GB = 2.0


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    Parameters
    ----------
    topic : str
        ``"machine"``, ``"packages"``, ``"codecs"``, ``"folders"``.
    name, state : str
    ok : bool
    advice : str
        What to do about it; empty where nothing is wrong.
    """

    topic: str
    name: str
    state: str
    ok: bool = True
    advice: str = ""


def diagnose(folder: Path | None = None) -> list[Finding]:
    """Everything worth knowing before a run, what is missing with the way to get it.

    Parameters
    ----------
    folder : Path, optional
        Where runs would be written; default: the working directory.
    """
    return [*machine(), *packages(), *codec_findings(), *folders(folder or Path.cwd())]


def machine() -> list[Finding]:
    """Python, processor, memory, GPU."""
    version = platform.python_version()
    supported = (3, 11) <= tuple(map(int, platform.python_version_tuple()[:2])) <= (3, 13)
    found = [
        Finding("machine", "Python", version, supported, "" if supported else "use Python 3.11, 3.12 or 3.13"),
        Finding(
            "machine",
            "processor",
            f"{processor()}, {len(os.sched_getaffinity(0))} cores" if hasattr(os, "sched_getaffinity") else processor(),
        ),
    ]
    if (memory := memory_gb()) is not None:
        enough = memory >= 4
        advice = "" if enough else "the quick plan takes up to 4 GB; run it with --workers 1"
        found.append(Finding("machine", "memory", f"{memory:.1f} GB", enough, advice))
    return [*found, gpu()]


def memory_gb() -> float | None:
    """Physical memory in GB, None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        return None


def gpu() -> Finding:
    """CUDA as PyTorch sees it."""
    if importlib.util.find_spec("torch") is None:
        return Finding("machine", "GPU", "unknown without torch")
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info(0)
        return Finding(
            "machine", "GPU", f"{torch.cuda.get_device_name(0)}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
        )
    build = torch.version.cuda
    if build is None:
        return Finding(
            "machine", "GPU", "none in use: torch is a build for CPUs; all plans but 'full' are made for one"
        )
    advice = f"a driver for CUDA {build} is needed; 'nvidia-smi' tells which is there"
    return Finding("machine", "GPU", f"none found, though torch is built for CUDA {build}", True, advice)


def packages() -> list[Finding]:
    """Versions of the libraries, and how to install those that are missing."""
    found = []
    for module, (name, purpose, extra) in PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            way = f"pip install 'sarlab[{extra}]'" if extra else f"pip install {name}"
            found.append(Finding("packages", name, f"missing ({purpose})", bool(extra), way))
            continue
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = "version unknown"
        found.append(Finding("packages", name, f"{version} ({purpose})"))
    return found


def codec_findings() -> list[Finding]:
    """Every codec: its libraries, or why it is not available."""
    from sarlab.codec.codec import codecs

    found = []
    for name in codecs:
        state = codecs[name].available()
        found.append(
            Finding(
                "codecs",
                name,
                codecs[name].version() if state.ok else "not available",
                True,
                "" if state.ok else state.reason,
            )
        )
    return found


def folders(folder: Path) -> list[Finding]:
    """Whether runs can be written, and a browser for those who test the report."""
    writable = os.access(folder, os.W_OK)
    free = shutil.disk_usage(folder).free / 1e9
    advice = "" if writable else "change to a folder that you may write to, or give --runs and --out"
    found = [Finding("folders", "working directory", "writable" if writable else "read-only", writable, advice)]
    advice = "" if free >= FREE_GB else f"a report with its runs takes up to {FREE_GB:g} GB; make room or give --runs"
    return [*found, Finding("folders", "free space", f"{free:.1f} GB", free >= FREE_GB, advice)]
