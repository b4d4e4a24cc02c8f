"""The folder of a run: written whole, the manifest last, and read back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from sarlab.errors import SarlabError
from sarlab.files import replacing, write_json
from sarlab.lab.machine import device_name
from sarlab.lab.results import (
    MANIFEST,
    environment,
    file_digest,
    now,
    read_manifest,
    read_table,
    write_table,
)
from sarlab.models.base import Autoencoder
from sarlab.models.quantizers import Quantizer
from sarlab.models.storage import write_tensors
from sarlab.models.weights import load_model, save_model
from sarlab.scenes.catalog import Split
from sarlab.specs import RunSpec

#: Files of a complete run.
RESULT_FILES = (
    *("spec.json", "rows.csv", "history.csv", "weights.safetensors", "quantizer.safetensors", "examples.npz"),
)
PROGRESS = "progress.json"


@dataclass
class Outcome:
    """What an experiment leaves.

    Parameters
    ----------
    spec : RunSpec
    run_id, hash : str
    rows : DataFrame
        One row per scene and band.
    history : DataFrame
    examples : dict
        ``"<scene>/<band>"`` → {"original", "reconstruction", "latent"} as arrays.
    folder : Path
        Where it is kept.
    manifest : dict
    """

    spec: RunSpec
    run_id: str
    hash: str
    rows: pd.DataFrame
    history: pd.DataFrame
    examples: dict[str, dict[str, np.ndarray]]
    folder: Path
    manifest: dict[str, Any] = field(default_factory=dict)


def save(
    outcome: Outcome,
    model: Autoencoder,
    quantizer: Quantizer,
    split: Split,
    *,
    device: torch.device,
    started: str,
    seconds: float,
) -> None:
    """Write everything, the manifest last: a folder with a manifest is complete."""
    spec, folder = outcome.spec, outcome.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    write_json(folder / "spec.json", spec.to_dict())
    write_table(outcome.rows, folder / "rows.csv")
    write_table(outcome.history, folder / "history.csv")
    save_model(
        folder / "weights.safetensors",
        model,
        normalizers=split.normalizers,
        provenance={"run_id": outcome.run_id, "hash": outcome.hash, "data": split.digest},
    )
    if quantizer.state_dict():
        write_tensors(folder / "quantizer.safetensors", quantizer.state_dict(), quantizer.config())
    with replacing(folder / "examples.npz") as temporary:
        # Typed loosely: NumPy has a parameter of its own beside the names of arrays.
        arrays: dict[str, Any] = {
            f"{key}/{part}": array for key, parts in outcome.examples.items() for part, array in parts.items()
        }
        np.savez_compressed(temporary, **arrays)
    names = [path.name for path in sorted(folder.iterdir()) if path.name in RESULT_FILES]
    outcome.manifest = {
        "run_id": outcome.run_id,
        "hash": outcome.hash,
        "label": spec.label,
        "spec": spec.to_dict(),
        "data": {"digest": split.digest, "note": split.note},
        "device": device_name(device),
        "seed": spec.seed,
        "threads": spec.train.threads,
        "started": started,
        "finished": now(),
        "seconds": round(seconds, 2),
        **environment(),
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": file_digest(folder / name)} for name in names
        },
    }
    write_json(folder / MANIFEST, outcome.manifest)
    # Half-written files of processes that were killed go too; the notebook's may be another process' at work.
    halves = (path for path in folder.glob(".*.tmp*") if path.suffix != ".ipynb")
    for leftover in (*folder.glob("checkpoint*"), *halves, folder / PROGRESS):
        leftover.unlink(missing_ok=True)


def load(folder: str | Path) -> Outcome:
    """Read a complete run back.

    Raises
    ------
    SarlabError
        If the folder holds no complete run.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise SarlabError(f"{folder}: no complete run here; run 'sarlab sweep' first")
    examples: dict[str, dict[str, np.ndarray]] = {}
    with np.load(folder / "examples.npz", allow_pickle=False) as stored:
        for key in stored.files:
            name, _, part = key.rpartition("/")
            examples.setdefault(name, {})[part] = stored[key]
    return Outcome(
        spec=RunSpec.from_dict(json.loads((folder / "spec.json").read_text(encoding="utf-8"))),
        run_id=manifest["run_id"],
        hash=manifest["hash"],
        rows=read_table(folder / "rows.csv"),
        history=read_table(folder / "history.csv"),
        examples=examples,
        folder=folder,
        manifest=manifest,
    )


def load_network(folder: str | Path) -> Autoencoder:
    """Trained network of a complete run."""
    return load_model(Path(folder) / "weights.safetensors").model
