"""How soon an explorer answers: every control of every explorer on a scene of 512², median of several moves.

    python benchmarks/explorers.py [--threads 2] [--repeats 5] [--json FILE]

Goal: 300 ms from the move of a slider to the last picture in the kernel, without the browser. Slow codecs are computed
ahead; their qualities are timed after that. On a busy machine, processor time is more reliable than clock time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

GOAL_SECONDS = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--repeats", type=int, default=5, help="moves of each control (default: 5)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    import torch

    from sarlab.files import write_json

    torch.set_num_threads(arguments.threads)
    rows = []
    print(f"{arguments.threads} thread(s); seconds from the move of a control to its answer; goal {GOAL_SECONDS} s")
    for name, explorer, moves in explorers():
        for control, values in moves.items():
            seconds, busy = [], []
            for index in range(arguments.repeats):
                start, worked = time.perf_counter(), time.process_time()
                explorer.controls[control].value = values[index % len(values)]
                seconds.append(time.perf_counter() - start)
                busy.append(time.process_time() - worked)
            median, cpu = statistics.median(seconds), statistics.median(busy)
            rows.append({
                "explorer": name, "control": control, "seconds": median, "slowest": max(seconds), "cpu_seconds": cpu,
            })  # fmt: skip
            print(
                f"{name:16} {control:12} {median:7.3f}   slowest {max(seconds):6.3f}   of the processor {cpu:6.3f}",
                flush=True,
            )
    worst = max(row["seconds"] for row in rows)
    print(f"slowest median {worst:.3f} s: {'within' if worst <= GOAL_SECONDS else 'beyond'} the goal")
    if arguments.json:
        write_json(arguments.json, {"threads": arguments.threads, "goal_seconds": GOAL_SECONDS, "rows": rows})


def explorers():
    """(name, explorer, control → values) on a simulated scene of 512²."""
    from sarlab.scenes.radiometry import to_db
    from sarlab.scenes.simulate import simulate
    from sarlab.views.explorers import latents, rate_distortion, speckle
    from sarlab.views.explorers.controls import subject_of

    subject = subject_of(to_db(simulate((512, 512))[0]))
    latents.subjects = lambda *_: {subject.name: subject}
    moves = {"looks": (1.0, 2.0, 8.0), "correlation": (0.3, 0.6), "seed": (1, 2, 3)}
    yield "speckle", speckle.SpeckleExplorer(512), moves
    yield "latents", latents.LatentExplorer(runs="nowhere"), {"channel": (3, 7), "scale": (0.5, 2.0), "kept": (12, 6)}
    moves = {"bits": (4, 6, 10), "granularity": ("tensor", "channel"), "calibration": ("mse", "minmax")}
    yield "quantizers", latents.QuantizerExplorer(runs="nowhere"), moves
    for codec in ("lapped", "factorized", "jpeg2000", "hevc12"):
        explorer = rate_distortion.RateDistortionExplorer(subject=subject)
        explorer.controls["codec"].value = codec
        explorer.cache(codec).wait()
        qualities = [value for _, value in explorer.controls["quality"].options]
        yield codec, explorer, {"quality": (qualities[3], qualities[5], qualities[1])}
    explorer = rate_distortion.SideBySideExplorer(subject=subject)
    for side in rate_distortion.SIDES:
        explorer.cache(explorer.controls[side].value).wait()
    yield "side by side", explorer, {"bpp": (0.3, 0.8, 0.2)}


if __name__ == "__main__":
    main()
