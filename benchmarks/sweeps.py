"""What carrying out runs costs beside the runs. Goals: two Dask workers at least 1.8 times as fast as one, on runs of one
core; scheduling at most 1 s per run; a thousand runs planned, resumed and reported in 10 s; a notebook at most 10 s beyond
its run.

    python benchmarks/sweeps.py [--runs 6] [--steps 200] [--only workers,thousand,notebook] [--json FILE]

On a machine that does other things too, the first figure says more about them than about Dask.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
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
    from sarlab.lab.runs import build_plan

    train = {"steps": steps, "batch_size": 4, "patch_size": 64, "validate_every": 100}
    model = {"architecture": "plain", "init": "klt", "width": 16, "latent_channels": 16}
    return build_plan("sweeps", {"train": train, "model": model, "seed": list(range(count))})


def workers(count: int, steps: int) -> dict[str, float]:
    """Throughput of two workers over that of one, and what scheduling adds to a run; workers are warm."""
    import dask
    import distributed

    from sarlab.lab.machine import inherited_threads
    from sarlab.lab.results import read_manifest
    from sarlab.lab.runs import jobs_of
    from sarlab.lab.sweep import Settings, execute

    seconds, overhead = {}, 0.0
    for number in (1, 2):
        jobs = jobs_of(plan_of(count, steps), Path(f"workers-{number}"))
        with (
            inherited_threads(1) as environment,
            dask.config.set({"distributed.nanny.pre-spawn-environ": environment}),
            distributed.LocalCluster(
                n_workers=number, threads_per_worker=1, memory_limit=0, silence_logs=50
            ) as cluster,
        ):
            settings = Settings("dask", device="cpu", scheduler=cluster.scheduler_address)
            execute(jobs_of(plan_of(2, 1), Path(f"warm-{number}")), settings, lambda item: None)
            start = time.perf_counter()
            execute(jobs, settings, lambda item: None)
            seconds[number] = time.perf_counter() - start
        own = sum(read_manifest(job.folder)["seconds"] for job in jobs) / number
        overhead = max(overhead, (seconds[number] - own) / count)
    ratio = seconds[1] / seconds[2]
    print(f"{count} runs: {seconds[1]:.1f} s by one worker, {seconds[2]:.1f} s by two: {ratio:.2f} times (goal 1.8)")
    print(f"scheduling: {overhead:.2f} s per run (goal 1)")
    return {"ratio": ratio, "overhead_s": overhead}


def thousand() -> dict[str, float]:
    """Seconds to plan a thousand runs, to find them complete, and to publish their tables."""
    from sarlab.lab import experiment
    from sarlab.lab.publish import publish
    from sarlab.lab.results import shared_folder
    from sarlab.lab.runs import jobs_of, statuses

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
    assert {item["state"] for item in statuses(Path("thousand"), jobs)} == {"complete"}
    resumed = time.perf_counter() - start
    shutil.copytree(shared_folder("book"), "book")
    start = time.perf_counter()
    publish(plan, jobs, Path("book"), tracked=True)
    reported = time.perf_counter() - start
    print(
        f"1000 runs: planned in {planned:.1f} s, resumed in {resumed:.1f} s, reported in {reported:.1f} s; "
        f"{planned + resumed + reported:.1f} s (goal 10)"
    )
    return {"planned_s": planned, "resumed_s": resumed, "reported_s": reported}


def notebook() -> dict[str, float]:
    """Seconds of a notebook beyond its run: kernel, imports and figures."""
    from sarlab.lab.results import read_manifest
    from sarlab.lab.runs import jobs_of
    from sarlab.lab.sweep import Settings, execute

    jobs = jobs_of(plan_of(2, 2), Path("notebooks"))
    ended = execute(jobs, Settings("inline", notebook=True, device="cpu"), lambda item: None)
    extra = min(item.seconds - read_manifest(item.job.folder)["seconds"] for item in ended)
    print(f"notebook: {extra:.1f} s beyond the run (goal 10)")
    return {"overhead_s": extra}


if __name__ == "__main__":
    main()
