"""The search for the recipe by which networks are trained: the same candidates for every architecture.

    SARLAB_DATA=FOLDER python benchmarks/recipes.py --out book/results      # 2,000 steps each, about three quarters of an hour on one core

Networks have 16 channels at 16× per axis and equal multiplications, as in the plan `report`. A row is one training: its best
PSNR on the validation scenes, after as many steps for all. No test scene is opened. Finished rows are kept; run it again to go on.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from sarlab.errors import TrainingError
from sarlab.lab.experiment import fit, pick_device
from sarlab.lab.results import read_table, write_table
from sarlab.models.autoencoders import build_model
from sarlab.models.data import TrainingData
from sarlab.models.quantizers import build_quantizer
from sarlab.models.training import cpu_threads
from sarlab.scenes.catalog import load_split
from sarlab.specs import ModelSpec, QuantizerSpec, RunSpec, SceneSpec, TrainSpec

NETWORKS = {
    "plain": ModelSpec("plain", width=44, depth=0),
    "residual": ModelSpec("residual", width=16),
    "attention": ModelSpec("attention", width=14),
}
COMMON = TrainSpec(steps=2000, batch_size=8, patch_size=96, validate_every=250)
RATES = {"adam": (5e-4, 1e-3, 2e-3, 4e-3), "muon": (5e-4, 1e-3, 2e-3, 4e-3)}
#: Changes of the recipe that the report uses, one at a time; those of the model have a dot.
CHANGES: dict[str, dict[str, Any]] = {
    "no warm-up": {"warmup_steps": 0},
    "gradients clipped at 1": {"clip_norm": 1.0},
    "no averaged weights": {"ema_decay": 0.0},
    "start from the KLT": {"init": "klt"},
    "first layers that halve the size": {"stem": "pyramid"},
}
KEYS = ["seed", "network", "variant", "optimizer", "learning_rate"]


def candidates(seeds: list[int]) -> Iterator[tuple[int, str, str, ModelSpec, TrainSpec]]:
    for seed in seeds:
        for name, model in NETWORKS.items():
            for optimizer, rates in RATES.items():
                for rate in rates:
                    yield seed, name, "", model, replace(COMMON, optimizer=optimizer, learning_rate=rate)
        for name, model in NETWORKS.items():
            for variant, change in CHANGES.items() if seed == seeds[0] else ():
                of_model = {key: value for key, value in change.items() if key in ("init", "stem")}
                if "stem" in of_model:
                    of_model["width"] = round(0.41 * model.width)
                of_training = {key: value for key, value in change.items() if key not in of_model}
                yield seed, name, variant, replace(model, **of_model), replace(COMMON, **of_training)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the table")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    path, device = args.out / "recipes.csv", pick_device("cpu")
    rows = read_table(path).to_dict("records") if path.is_file() else []
    done = {tuple(str(row[key]) for key in KEYS) for row in rows}
    scenes = SceneSpec("sentinel1-all")
    data = TrainingData.from_split(load_split(scenes))
    bases = {}
    for seed, name, variant, model, train in candidates(args.seeds):
        row = {
            "seed": seed,
            "network": name,
            "variant": variant or "-",
            "optimizer": train.optimizer,
            "learning_rate": train.learning_rate,
        }
        if tuple(str(row[key]) for key in KEYS) in done:
            continue
        spec = RunSpec(scenes=scenes, model=model, train=train, seed=seed)
        basis = bases.setdefault(model.latent_channels, data.fit_klt(model.spatial_reduction, model.latent_channels))
        network, quantizer = (
            build_model(model, seed=seed, klt=basis),
            build_quantizer(QuantizerSpec(), model.latent_channels),
        )
        with tempfile.TemporaryDirectory() as folder, cpu_threads(train.threads):
            try:
                history, costs = fit(
                    spec, network, quantizer, data, Path(folder), device, progress=None, time_budget=None
                )
                found = {"validation_db": history["validation_db"].max(), "converged": bool(costs["converged"]),
                         "last_quarter_gain_db": costs["last_quarter_gain_db"]}  # fmt: skip
            except TrainingError:
                found = {"validation_db": float("nan"), "converged": False}
        rows.append(row | {"steps": train.steps} | found)
        print(*rows[-1].values(), flush=True)
        write_table(pd.DataFrame(rows), path)


if __name__ == "__main__":
    main()
