"""Rate-distortion curves from one training: nested and progressive trainings compared to dedicated ones.

    python benchmarks/curves.py [--seeds 0 1 2] [--steps 400] [--scenes NAME_OR_PATH] [--runs DIR] [--json FILE]

Residual networks from the KLT at 16× per axis have 64 to 2 channels (4× to 128×). *dedicated*: one training per size.
*nested*: one training that zeroes random trailing channels, with 1.45 times the steps of a dedicated one. *progressive*:
each training starts from the one with twice its channels and has a quarter of the steps. *same budget*: dedicated trainings
that share the steps of the nested one. Goals: nested takes at most 1.5 times the longest dedicated training and is at most
0.2 dB below dedicated at any ratio. PSNR is the mean over the bands of the test scenes. Finished runs are reused.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from sarlab.files import write_json
from sarlab.lab.experiment import run
from sarlab.lab.runs import run_id
from sarlab.models.training import nested_counts
from sarlab.scenes.catalog import load_split
from sarlab.specs import ModelSpec, RunSpec, SceneSpec, TrainSpec

FIRST, REDUCTION = 64, 16
#: Steps of the nested training relative to a dedicated one; goals: relative time, and loss in dB.
NESTED_STEPS = 1.45
MOST_TIME, MOST_LOSS = 1.5, 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400, help="of a dedicated training")
    parser.add_argument("--scenes", default="bigearthnet", help="name or path")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    digest = load_split(SceneSpec(arguments.scenes)).digest
    rows = []
    for seed in arguments.seeds:
        for method, spec in specs(arguments.scenes, arguments.steps, seed):
            done = run(spec, arguments.runs / run_id(spec, digest), device=arguments.device)
            found = done.rows[done.rows["split"] == "test"]
            rows.append(
                {
                    "method": method, "seed": seed, "ratio": spec.model.dimension_ratio, "steps": int(found["steps"].iloc[0]),
                    "psnr_db": float(found["psnr_db"].mean()), "gain_db": float(found["gain_over_klt_db"].mean()),
                    "seconds": float(found["train_seconds"].iloc[0]),
                }
            )  # fmt: skip
            print(f"{method:12} seed {seed} {rows[-1]['ratio']:5.0f}x {rows[-1]['psnr_db']:7.3f} dB", flush=True)
    table = pd.DataFrame(rows)
    report(table)
    if arguments.json:
        write_json(arguments.json, table.to_dict("records"))


def specs(scenes: str, steps: int, seed: int) -> list[tuple[str, RunSpec]]:
    """Return (method, run) of every point of every curve."""
    train = TrainSpec(steps=steps, patch_size=112, learning_rate=2e-3)
    budget = round(NESTED_STEPS * steps)
    counts = nested_counts(FIRST)
    methods = {
        "dedicated": train,
        "nested": replace(train, steps=budget, curve="nested", first_channels=FIRST),
        "progressive": replace(train, curve="progressive", first_channels=FIRST),
        "same budget": replace(train, steps=max(1, budget // len(counts))),
    }
    return [
        (
            method,
            RunSpec(
                scenes=SceneSpec(scenes),
                model=ModelSpec("residual", REDUCTION, channels, "klt", width=16, depth=1),
                train=settings,
                seed=seed,
            ),
        )
        for method, settings in methods.items()
        for channels in counts
    ]


def report(table: pd.DataFrame) -> None:
    """Print the PSNR of each method at each ratio, its difference to dedicated trainings, and its time."""
    mean = table.groupby(["method", "ratio"])["psnr_db"].mean().unstack()
    print(f"\n{'PSNR, dB':14}" + "".join(f"{ratio:8.0f}x" for ratio in mean.columns))
    for method, line in mean.iterrows():
        print(f"{method:14}" + "".join(f"{value:9.2f}" for value in line))
    print("\ndifference to dedicated, dB: mean (least) over seeds")
    wide = table.pivot_table(index=["ratio", "seed"], columns="method", values="psnr_db")
    worst = {}
    for method in mean.index.drop("dedicated"):
        gap = (wide[method] - wide["dedicated"]).groupby("ratio")
        worst[method] = gap.mean().min()
        cells = "".join(f"{m:+9.2f} ({w:+.2f})" for m, w in zip(gap.mean(), gap.min(), strict=True))
        print(f"{method:14}{cells}")
    seconds = {}
    for method, part in table.groupby("method"):
        once = part.drop_duplicates(["seed"]) if method == "nested" else part
        seconds[method] = once.groupby("seed")["seconds"].sum().mean()
    dearest = table[table["method"] == "dedicated"].groupby("seed")["seconds"].max().mean()
    print("\ntraining of the whole curve relative to the longest dedicated training: time, steps")
    longest = table[table["method"] == "dedicated"]["steps"].max()
    for method, spent in seconds.items():
        part = table[(table["method"] == method) & (table["seed"] == table["seed"].iloc[0])]
        steps = (part["steps"].max() if method == "nested" else part["steps"].sum()) / longest
        print(f"{method:14}{spent / dearest:6.2f}{steps:8.2f}  ({spent:.0f} s)")
    for name, value, goal in (
        (f"nested: time <= {MOST_TIME} trainings", seconds["nested"] / dearest, MOST_TIME),
        (f"nested: <= {MOST_LOSS} dB below dedicated", -worst["nested"], MOST_LOSS),
    ):
        print(f"{name}: {'reached' if value <= goal else 'MISSED'} ({value:.2f})")


if __name__ == "__main__":
    main()
