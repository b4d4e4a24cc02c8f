"""Time of all metrics on a simulated scene, and of the slowest columns. Goal: 1.5 s for 512² samples on two cores.

    python benchmarks/metrics.py [--size 512] [--repeats 5] [--json FILE]

The scene has fields, an edge, texture, targets and speckle of 4.4 looks, so that every column has a value. "again" is a
second reconstruction of the same scene, whose windows, classes, targets and noise floors are known.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path

from sarlab.files import write_json
from sarlab.metrics import Comparison, Reference, UndefinedMetric, described, score

GOAL_S = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512, help="side of the scene in samples (default: 512)")
    parser.add_argument(
        "--repeats", type=int, default=5, help="number of runs, of which the median counts (default: 5)"
    )
    parser.add_argument("--json", type=Path, help="also write the times to this file")
    arguments = parser.parse_args()
    clean, recorded, test = scene(arguments.size)
    clip = (-25.0, 5.0)

    def first(with_clean: bool) -> None:
        score(recorded, test, clip=clip, looks=4.4, clean_db=clean if with_clean else None)

    first(True)
    known = Reference(recorded, clip=clip, looks=4.4, clean_db=clean)
    score(known, test)
    figures = {
        "all columns": timed(lambda: first(True), arguments.repeats),
        "without the clean scene": timed(lambda: first(False), arguments.repeats),
        "all columns, again": timed(lambda: score(known, test), arguments.repeats),
    }
    print(f"{arguments.size}² samples, {platform.processor() or platform.machine()}")
    print(f"{'':26}{'wall s':>8}{'CPU s':>8}")
    for name, (wall, cpu) in figures.items():
        print(f"{name:26}{wall:8.3f}{cpu:8.3f}")
    columns = slowest(recorded, test, clean, clip)
    print("slowest columns (what several columns share counts for the first)")
    for name, seconds in columns[:12]:
        print(f"{name:34}{1000 * seconds:8.1f} ms")
    wall = figures["all columns"][0]
    print(f"goal {GOAL_S} s: {'met' if wall <= GOAL_S else 'missed'}")
    if arguments.json:
        write_json(arguments.json, {"seconds": figures, "columns_s": dict(columns)})


def scene(size: int):
    """Clean scene, recorded scene and a smoothed reconstruction, all in dB."""
    import numpy as np
    from scipy.ndimage import uniform_filter

    rng = np.random.default_rng(0)
    clean = np.full((size, size), -12.0)
    clean[:, size // 2 :] = -6
    clean[size // 2 :, : size // 4] += 2 * np.kron(rng.standard_normal((size // 8, size // 16)), np.ones((4, 4)))
    clean[tuple(rng.integers(20, size - 20, (2, 30)))] = 15
    recorded = clean + 10 * np.log10(rng.gamma(4.4, 1 / 4.4, clean.shape))
    test = 10 * np.log10(uniform_filter(10 ** (recorded / 10), 3))
    return clean, recorded, test


def timed(call, repeats: int) -> tuple[float, float]:
    """Median wall and CPU seconds of a call."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return statistics.median(walls), statistics.median(cpus)


def slowest(recorded, test, clean, clip) -> list[tuple[str, float]]:
    """Seconds of each column, the slowest first."""
    case = Comparison(Reference(recorded, clip=clip, looks=4.4, clean_db=clean), test)
    seconds = []
    for metric in described():
        start = time.perf_counter()
        try:
            metric.compute(case)
        except UndefinedMetric as undefined:
            print(f"{metric.name}: {undefined}")
        seconds.append((metric.name, time.perf_counter() - start))
    return sorted(seconds, key=lambda item: -item[1])


if __name__ == "__main__":
    main()
