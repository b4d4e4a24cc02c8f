"""What carrying out runs costs beside the runs. Goals: two Dask workers at least 1.8 times as fast as one, on runs of one
core; scheduling at most 1 s a run; a thousand runs planned, resumed and reported in 10 s; a notebook at most 3 s beyond the
run and its imports, which one process makes for all notebooks.

    python benchmarks/sweeps.py [--runs 6] [--steps 200] [--only workers,thousand,notebook] [--json FILE]

On a machine that does other things too the first figure says more about them than about Dask.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=6, help="runs of the comparison of workers (default: 6)")
    parser.add_argument("--steps", type=int, default=200, help="steps of each of them (default: 200)")
    parser.add_argument("--only", default="workers,thousand,notebook", help="which parts, comma-separated")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    from sarlab.files import write_json

    parts = {"workers": lambda: workers(arguments.runs, arguments.steps), "thousand": thousand, "notebook": notebook}
    found = {}
    with tempfile.TemporaryDirectory(prefix="sarlab-") as folder:
        os.chdir(folder)
        for name in arguments.only.split(","):
            found[name] = parts[name]()
    if arguments.json:
        write_json(arguments.json, found)


def plan_of(count: int, steps: int):
    from sarlab.lab.plans import build_plan

    train = {"steps": steps, "batch_size": 4, "patch_size": 64, "validate_every": 100}
    model = {"architecture": "plain", "init": "klt", "width": 16, "latent_channels": 16}
    return build_plan("sweeps", {"train": train, "model": model, "seed": list(range(count))})


def workers(count: int, steps: int) -> dict[str, float]:
    """Throughput of two workers over that of one, and what scheduling adds to a run; workers are warm."""
    from sarlab.lab import dask_executor
    from sarlab.lab.executors import Settings
    from sarlab.lab.jobs import jobs_of
    from sarlab.lab.results import read_manifest

    seconds, overhead = {}, 0.0
    for number in (1, 2):
        settings = Settings(device="cpu", workers=number)
        jobs = jobs_of(plan_of(count, steps), Path(f"workers-{number}"))
        warm = jobs_of(plan_of(2, 1), Path(f"warm-{number}"))
        with dask_executor.connected(jobs, settings) as client:
            address = Settings(device="cpu", scheduler=client.scheduler.address)
            if client.security.require_encryption:
                dask_executor.connected = lambda *_, c=client: _open(c)
            dask_executor.run_on_dask(warm, address, lambda item: None)
            start = time.perf_counter()
            dask_executor.run_on_dask(jobs, address, lambda item: None)
            seconds[number] = time.perf_counter() - start
        own = sum(read_manifest(job.folder)["seconds"] for job in jobs) / number
        overhead = max(overhead, (seconds[number] - own) / count)
        __import__("importlib").reload(dask_executor)
    ratio = seconds[1] / seconds[2]
    print(
        f"dask, {count} runs: {seconds[1]:.1f} s with one worker, {seconds[2]:.1f} s with two: {ratio:.2f} times (goal 1.8)"
    )
    print(f"scheduling: {overhead:.2f} s a run (goal 1)")
    return {"ratio": ratio, "overhead_s": overhead}


def _open(client):
    import contextlib

    return contextlib.nullcontext(client)


def thousand() -> dict[str, float]:
    """Seconds to plan a thousand runs, to find them complete, and to publish their tables."""
    from sarlab.lab import experiment
    from sarlab.lab.jobs import jobs_of
    from sarlab.lab.publish import publish
    from sarlab.lab.results import shared_folder
    from sarlab.lab.status import counts, statuses

    one = jobs_of(plan_of(1, 2), Path("one"))[0]
    experiment.run(one.spec, one.folder, device="cpu")
    start = time.perf_counter()
    plan = plan_of(1000, 2)
    jobs = jobs_of(plan, Path("thousand"))
    planned = time.perf_counter() - start
    files = {path.name: path.read_bytes() for path in one.folder.iterdir() if path.is_file()}
    for job in jobs:
        job.folder.mkdir(parents=True)
        for name, data in files.items():
            (job.folder / name).write_bytes(data)
        manifest = json.loads(files["manifest.json"]) | {"hash": job.hash, "run_id": job.run_id}
        (job.folder / "manifest.json").write_text(json.dumps(manifest))
    start = time.perf_counter()
    assert counts(statuses(Path("thousand"), jobs))["complete"] == 1000
    resumed = time.perf_counter() - start
    import shutil

    book = Path("book")
    shutil.copytree(shared_folder("book"), book)
    start = time.perf_counter()
    publish(plan, jobs, book, tracked=True)
    reported = time.perf_counter() - start
    total = planned + resumed + reported
    print(
        f"1000 runs: planned in {planned:.1f} s, resumed in {resumed:.1f} s, reported in {reported:.1f} s; {total:.1f} s (goal 10)"
    )
    return {"planned_s": planned, "resumed_s": resumed, "reported_s": reported}


def notebook() -> dict[str, float]:
    """Seconds of a notebook beyond its run: of the first, with the imports that all of them share, and of the others."""
    from sarlab.lab.executors import Settings, execute
    from sarlab.lab.jobs import jobs_of
    from sarlab.lab.results import read_manifest

    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "from sarlab.lab import experiment; from sarlab.views import runpage, plots"])
    imports = time.perf_counter() - start
    jobs = jobs_of(plan_of(3, 2), Path("notebooks"))
    ended = execute(jobs, "papermill", Settings(device="cpu", workers=1), lambda item: None)
    extra = [item.seconds - read_manifest(item.job.folder)["seconds"] for item in ended]
    later = min(extra[1:])
    print(f"notebook: {later:.1f} s beyond the run, imports included (goal 3 without them)")
    print(
        f"the first one, which waits for what all share: {extra[0]:.1f} s; the imports of a run alone: {imports:.1f} s"
    )
    return {"overhead_s": later, "first_s": extra[0], "imports_s": imports}


if __name__ == "__main__":
    main()
