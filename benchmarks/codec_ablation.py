"""What buys what in the codec `lapped`: its parts left out one at a time, each variant trained as briefly as the complete one.

    python benchmarks/codec_ablation.py --out book/results         # the table of the book's chapter on the codec
    python benchmarks/codec_ablation.py                            # the list of variants, nothing trained

Every variant is the shipped plan with few steps (see STEPS) and one change; all draw the same patches. What is measured are files of
the embedded test scene, as BD-rate against JPEG 2000 and against the complete variant. A variant that the table holds already
is not trained again: an interrupted command goes on where it was.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sarlab.codec.api import compress, decompress
from sarlab.codec.codec_plans import CodecPlan, load_codec_plan
from sarlab.codec.hyper import arithmetic
from sarlab.codec.model_store import load_model, model_path
from sarlab.codec.train_codec import train_codec
from sarlab.lab.results import now, write_table
from sarlab.metrics import Reference, score
from sarlab.metrics.rate import bd_rate
from sarlab.models.storage import read_tensors
from sarlab.peers import codecs
from sarlab.scenes.catalog import load_split
from sarlab.scenes.embedded import reference_normalizers
from sarlab.scenes.scene import Scene
from sarlab.specs import SceneSpec, content_hash

PLAN = Path(__file__).resolve().parents[1] / "notebooks" / "plans" / "codecs" / "hyper.toml"
#: Steps of every variant, and how they differ from those of a long training.
STEPS = 500
BRIEF = {"batch_size": 4, "learning_rate": 2.5e-3, "quality": (13.0, 53.0), "ema_decay": 0.99, "warmup_steps": 50}
#: Qualities of the files, about 0.1 to 3 bpp, and the one at which the bias is looked at.
QUALITIES, LOOKED_AT = (18.0, 20.0, 22.0, 24.5, 27.0, 30.0, 33.0, 36.0, 40.0, 44.0, 48.0), 24.5
COMPLETE = "complete"
#: Variants: name → (changes of the plan, of its entropy model, of its training).
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    COMPLETE: ({}, {}, {}),
    "linear decoder": ({"width": 0}, {}, {}),
    "blocks without overlap": ({"front": "block"}, {}, {}),
    "axes of the KLT, not turned": ({}, {"turned": False}, {}),
    "no context": ({}, {"groups": ((64, 1, 3),)}, {}),
    "values one by one, no trellis": ({}, {"trellis": False}, {}),
    "a quarter of the steps": ({}, {}, {"steps": STEPS // 4}),
    "speckle in the loss": ({}, {"speckle_weight": 0.3}, {}),
}
#: Measured without training: the complete variant with every value coded as the nearest integer, and the weights of the package.
NEAREST, SHIPPED = "integers of least error", "shipped weights"
ALL = [*VARIANTS, NEAREST, SHIPPED]


def brief(plan: CodecPlan, name: str) -> CodecPlan:
    """Plan of a variant."""
    of_plan, of_hyper, of_training = VARIANTS[name]
    assert plan.hyper is not None
    hyper = replace(plan.hyper, second_steps=0, bias_steps=0, despeckle_steps=0, **of_hyper)
    short = {"steps": STEPS, "validate_every": 10 * STEPS, **BRIEF, **of_training}
    return replace(plan, name="ablation", hyper=hyper, training=replace(plan.training, **short), **of_plan)


def curve(scene: Scene, clip: tuple[float, float], codec: str) -> pd.DataFrame:
    """Rate, PSNR and bias of files at `QUALITIES`."""
    reference, rows = Reference(scene.data[0], clip=clip), []
    for quality in QUALITIES:
        data = compress(scene, codec=codec, quality=quality, metadata=False)
        scores = score(reference, decompress(data, model=codec).data[0], columns=("psnr_db", "bias_db"))
        rows.append({"quality": quality, "bpp": 8 * len(data) / scene.data.size, **scores})
    return pd.DataFrame(rows)


def anchor(scene: Scene, clip: tuple[float, float]) -> pd.DataFrame:
    """The same of JPEG 2000 at its default qualities and between them."""
    reference, rows, codec = Reference(scene.data[0], clip=clip), [], codecs["jpeg2000"]
    grid = np.array(codec.capabilities.quality.grid)
    for quality in sorted([*grid, *(grid[1:] + grid[:-1]) / 2]):
        data = codec.compress(scene, quality=quality)
        scores = score(reference, codec.decompress(data).data[0], columns=("psnr_db",))
        rows.append({"bpp": 8 * len(data) / scene.data.size, **scores})
    return pd.DataFrame(rows)


def measured(model: Path) -> tuple[list[pd.DataFrame], dict[str, Any]]:
    """Curves of both bands of the test scene, and what a row says of them."""
    scene, normalizers, curves, row = load_split(SceneSpec("bigearthnet")).test[0], reference_normalizers(), [], {}
    for index, band in enumerate(scene.bands):
        clip = (normalizers[band].low, normalizers[band].high)
        curves.append(curve(scene.band(index), clip, str(model)))
        theirs, ours = anchor(scene.band(index), clip), curves[-1]
        row[f"rate_{band.lower()}"] = _difference(theirs, ours)
        row[f"bias_{band.lower()}_db"] = float(ours.loc[ours["quality"] == LOOKED_AT, "bias_db"].iloc[0])
    return curves, row


def _difference(anchor: pd.DataFrame, ours: pd.DataFrame) -> float:
    found = bd_rate(anchor["bpp"], anchor["psnr_db"], ours["bpp"], ours["psnr_db"], interval=(25.0, 40.0))
    return float(found.value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the table")
    args = parser.parse_args()
    if args.out is None:
        print("\n".join(ALL))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    path, plan = args.out / "codec_ablation.csv", load_codec_plan(PLAN)
    assert plan.hyper is not None
    known = pd.read_csv(path).to_dict("records") if path.is_file() else []
    rows = {row["variant"]: row for row in known if row["variant"] in ALL}
    with tempfile.TemporaryDirectory() as folder:
        complete: list[pd.DataFrame] = []
        keys = {name: content_hash(asdict(brief(plan, name))) for name in VARIANTS}
        keys |= {NEAREST: keys[COMPLETE], SHIPPED: load_model(model_path("lapped")).hash.hex()}
        wanted = [name for name in ALL if name not in rows or rows[name]["plan"] != keys[name]]
        # The complete variant is what the others are held against: it is needed whenever one of them is.
        for name in [COMPLETE, *(name for name in wanted if name != COMPLETE)] if wanted else []:
            trained, key = name in VARIANTS, keys[name]
            model, seconds, steps, before = Path(folder) / "ablation.safetensors", float("nan"), float("nan"), 1.0
            if trained:
                history = train_codec(brief(plan, name), model)
                seconds, steps = history.seconds, history.steps_done
                if name == COMPLETE:
                    shutil.copy(model, Path(folder) / "complete.safetensors")
            elif name == NEAREST:
                model = Path(folder) / "nearest.safetensors"
                shutil.copy(Path(folder) / "complete.safetensors", model)
                before, arithmetic.THRIFT = arithmetic.THRIFT, 0.0
            else:
                model = model_path("lapped")
                steps = read_tensors(model)[1]["provenance"]["steps"]
            start = time.perf_counter()
            curves, row = measured(model)
            if name == NEAREST:
                arithmetic.THRIFT = before
            if name == COMPLETE:
                complete = curves
            relative = np.mean([_difference(a, b) for a, b in zip(complete, curves, strict=True)])
            rows[name] = {
                "variant": name, "plan": key, "steps": steps, "seconds": seconds, **row, "over_complete": relative,
                "bytes": model.stat().st_size, "measured_seconds": time.perf_counter() - start, "date": now(),
            }  # fmt: skip
            write_table(pd.DataFrame([rows[name] for name in ALL if name in rows]), path)
            print(f"{name}: {row}, {relative:+.1f} % against the complete variant", flush=True)


if __name__ == "__main__":
    main()
