"""What a run costs before it has run: peak memory from shapes alone, time from a short calibration.

::

    CPU   process ── + data ── + max(KLT fit, training step, validation, test scene) ──▶ peak of the process
    CUDA             data ── + max(          training step, validation, test scene) ──▶ peak of the device's allocator
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sarlab.errors import SarlabError
from sarlab.lab import memory
from sarlab.lab.forecast import Estimate, Measured, calibrate
from sarlab.lab.forecast import estimate as forecast_of
from sarlab.lab.lineage import base_of, steps_of
from sarlab.lab.machine import pick_device
from sarlab.models.complexity import count_parameters
from sarlab.models.registry import construct
from sarlab.scenes.catalog import Split, load_split
from sarlab.specs import ModelSpec, RunSpec, SceneSpec

#: On a CPU, bytes that libraries take when the KLT or the first step runs (code, threads, scratch), and for each pixel of a
#: batch (indices of patches, copies of activations in another order). Measured on networks of 0.4 to 3 million weights.
LIBRARY_BYTES, BYTES_A_PIXEL = 95e6, 40
#: Side of a training scene's copies: the scene, its band normalized, and the flat copy that patches are cut from.
COPIES = 3
#: What a process needs that has loaded everything a run imports: printed by a process that does.
_PROBE = "import sarlab.lab.experiment; from sarlab.lab.machine import process_peak_mb; print(process_peak_mb())"


@dataclass(frozen=True)
class Cost:
    """Cost of one network of a plan, on one device.

    Parameters
    ----------
    spec : RunSpec
        One run with it: the one whose training needs most memory.
    runs : int
        Runs of the plan with it.
    parameters : int
    training_mb, inference_mb, run_mb : float
        Peak of a training step, of analysis and synthesis of the largest test scene, and of the whole run with
        process and data.
    largest_batch : int
        Patches a step that fit the memory budget; -1 where no budget is given.
    seconds : float
        Of all its runs, one after the other; NaN where time was not asked for.
    """

    spec: RunSpec
    runs: int
    parameters: int
    training_mb: float
    inference_mb: float
    run_mb: float
    largest_batch: int
    seconds: float


@functools.cache
def process_mb() -> float:
    """Memory of a process that has imported what a run needs and done nothing yet; asked of one that does."""
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=300)
    try:
        return float(done.stdout)
    except ValueError as error:
        raise SarlabError(f"a process to measure did not start: {done.stderr.strip()[-300:]}") from error


def training_mb(spec: RunSpec, device: torch.device) -> float:
    """Peak of a training step beside process and data, in MB."""
    if spec.model.architecture == "klt":
        return 0.0
    pixels = spec.train.batch_size * spec.train.patch_size**2
    libraries = pixel_bytes(device) * pixels + (LIBRARY_BYTES if device.type == "cpu" else 0.0)
    return (memory.training_bytes(spec.model, spec.train) + libraries) / 1e6


def pixel_bytes(device: torch.device) -> int:
    """Bytes that a pixel of a batch takes beside the network's tensors: its index in the data, and on a CPU copies."""
    return BYTES_A_PIXEL if device.type == "cpu" else 12


def inference_mb(model: ModelSpec, height: int, width: int, device: torch.device) -> float:
    """Peak of analysis and synthesis of a band beside process and data, in MB."""
    libraries = LIBRARY_BYTES if device.type == "cpu" and model.architecture != "klt" else 0.0
    return (memory.inference_bytes(model, height, width) + libraries) / 1e6


def run_mb(spec: RunSpec, split: Split, device: torch.device) -> float:
    """Peak of a whole run in MB: of the process on a CPU, of the device's allocator on CUDA.

    Parameters
    ----------
    spec : RunSpec
    split : Split
        Its scenes.
    device : torch.device
    """
    height, width = largest_scene(split)
    # Runs that take weights over, and the KLT, never train; the throughput of every run is timed on 512².
    trains = base_of(spec) is None and steps_of(spec) > 0
    phases = [inference_mb(spec.model, max(height, 512), max(width, 512), device)]
    if trains:
        phases += [training_mb(spec, device), memory.validation_bytes(spec.model) / 1e6]
    training_pixels = sum(scene.data.size for scene in split.train)
    everything = sum(scene.data.size for _, scene in split.roles())
    if device.type != "cpu":
        return 4e-6 * training_pixels * 2 + max(phases)
    phases.append((memory.klt_bytes(spec.model, training_pixels) + LIBRARY_BYTES) / 1e6)
    return process_mb() + 4e-6 * (everything + COPIES * training_pixels) + max(phases)


def largest_scene(split: Split) -> tuple[int, int]:
    """Height and width of the test scene with most pixels."""
    shapes = [scene.data.shape[1:] for scene in (*split.test, *split.independent)] or [(512, 512)]
    height, width = max(shapes, key=lambda shape: shape[0] * shape[1])
    return int(height), int(width)


def estimate(spec: RunSpec, device: str = "auto", *, timed: Sequence[Measured] | None = None) -> Estimate:
    """Seconds and memory of one run on this machine.

    Parameters
    ----------
    spec : RunSpec
    device : str
    timed : sequence of Measured, optional
        A calibration (`sarlab.lab.forecast.calibrate`) done before; otherwise a few steps are timed now.
    """
    where = pick_device(device)
    if timed is None:
        timed = calibrate([spec], device)
    return Estimate(forecast_of(spec, [], timed).seconds, run_mb(spec, load_split(spec.scenes), where), "calibration")


def costs(
    runs: Sequence[RunSpec], device: str = "auto", *, budget_mb: float | None = None, time: bool = True
) -> list[Cost]:
    """Cost of every network among `runs`, those that need most memory first.

    Parameters
    ----------
    runs : sequence of RunSpec
    device : str
    budget_mb : float, optional
        Memory for which the largest batch is looked for.
    time : bool
        Whether to time a few steps of each kind of network.
    """
    where = pick_device(device)
    splits: dict[SceneSpec, Split] = {}
    groups: dict[ModelSpec, list[RunSpec]] = {}
    for spec in runs:
        splits.setdefault(spec.scenes, load_split(spec.scenes))
        groups.setdefault(spec.model, []).append(spec)
    timed: list[Measured] = []
    if time:
        kinds = {(s.model.architecture, s.model.init, s.train.threads): s for s in runs}
        timed = calibrate(list(kinds.values()), device)
    found = []
    for model, group in groups.items():
        spec = max(group, key=lambda s: training_mb(s, where) if base_of(s) is None else 0.0)
        split = splits[spec.scenes]
        batch = -1
        if budget_mb is not None and model.architecture != "klt":
            fixed = process_mb() + LIBRARY_BYTES / 1e6 if where.type == "cpu" else 0.0
            data = 4e-6 * COPIES * sum(scene.data.size for scene in split.train)
            batch = memory.largest_batch(
                model, spec.train, 1e6 * (budget_mb - fixed - data), bytes_a_pixel=pixel_bytes(where)
            )
        height, width = largest_scene(split)
        found.append(
            Cost(
                spec, len(group), count_parameters(construct(model, 0)), training_mb(spec, where),
                inference_mb(model, height, width, where), run_mb(spec, split, where), batch,
                sum(forecast_of(s, [], timed).seconds for s in group) if time else float("nan"),
            )
        )  # fmt: skip
    return sorted(found, key=lambda cost: -cost.run_mb)
