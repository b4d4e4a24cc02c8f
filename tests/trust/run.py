"""The long version of every test of trust: python tests/trust/run.py [--write]     (`make trust`)

Two lanes run side by side. What is finished for this commit is not done again, and fuzzing goes on where it stopped. The table is
printed, and with --write it replaces the one in TRUST.md.
"""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / "_build" / "trust"
STREAMS, OTHERS = 200_000, {"weights": 15_000, "scene": 15_000, "plan": 5000, "table": 5000, "run": 5000}
EXAMPLES, KILLS = 2500, 40
WINGS = ("codec", "scenes", "metrics")


def harness(inputs, state, *targets):
    """Inputs and failures of fuzzing in words, from the state that the harness keeps."""
    options = ["--inputs", str(inputs), "--state", str(STATE / state), "--target", *targets]
    command = [sys.executable, "tests/fuzz/harness.py", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    found = json.loads((STATE / state / "fuzz.json").read_text())
    count = sum(sum(found[name].values()) for name in targets)
    failed = sum(found[name].get("failed", 0) for name in targets)
    return done.returncode == 0, f"{count:,} inputs, {failed} failed"


def tests(text, *arguments, **variables):
    """Outcome of a run of pytest, behind what it stands for."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | variables)
    (STATE / f"{re.sub(r'[^a-z]+', '-', arguments[0])}.log").write_text(done.stdout)
    counts = re.findall(r"(\d+ (?:passed|failed|error\w*|skipped))", done.stdout.splitlines()[-1])
    return done.returncode == 0, f"{text}{', '.join(counts)}"


def coverage():
    """Lines of the wings that their tests run; compiled code is not seen, and not counted."""
    report = STATE / "coverage.json"
    options = [part for wing in WINGS for part in (f"--cov=sarlab.{wing}", f"tests/{wing}")]
    _, text = tests("", *options, f"--cov-report=json:{report}", "-m", "not slow", "-n", "1", SARLAB_NEW_EXAMPLES="1")
    files = json.loads(report.read_text())["files"]
    shares = {}
    for wing in WINGS:
        totals = [entry["summary"] for name, entry in files.items() if f"sarlab/{wing}/" in name]
        shares[wing] = sum(t["covered_lines"] for t in totals) / sum(t["num_statements"] for t in totals)
    text = f"{', '.join(f'{wing} {share:.1%}' for wing, share in shares.items())} ({text})"
    return min(shares.values()) >= 0.9, text


def mutants():
    """Share of small faults in a sample that the tests notice."""
    command = [sys.executable, "tests/trust/mutants.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    (STATE / "mutants.log").write_text(done.stdout + done.stderr)
    return done.returncode == 0, (done.stdout or "none was tried").splitlines()[-1]


LANES = (
    {"Mutated .sarl streams": lambda: harness(STREAMS, "streams", "stream")}
    | {f"Mutated input: {name}": lambda name=name, count=count: harness(count, name, name) for name, count in OTHERS.items()}
    | {"Lines run by tests": coverage, "Mutants of metrics and container killed": mutants},
    {
        "Round trips of any raster": lambda: tests(f"{4 * EXAMPLES:,} examples, ", "tests/trust/test_round_trips.py", SARLAB_EXAMPLES=str(EXAMPLES), SARLAB_NEW_EXAMPLES="1"),
        "Commands killed at random, full disk, damaged results": lambda: tests(f"{5 * KILLS + KILLS // 4} kills, ", "tests/trust/test_faults.py", SARLAB_KILLS=str(KILLS)),
        "Same bytes on other threads and instructions": lambda: tests("", "tests/trust/test_determinism.py"),
        "Security": lambda: tests("", "tests/trust/test_security.py"),
        "Null codec, identity codec, reproduction": lambda: tests("", "tests/trust/test_science.py"),
        "Golden files, and a second decoder": lambda: tests("", "tests/codec/test_file_format.py"),
        "No test pixel in training": lambda: tests("", "tests/scenes/test_catalog.py", "tests/scenes/test_collection.py"),
    },
)  # fmt: skip


def commit():
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def table(results):
    lines = ["| what | measured | minutes |", "|---|---|---|"]
    for name in (name for lane in LANES for name in lane if name in results):
        entry = results[name]
        text = f"{'' if entry['fine'] else '**failed:** '}{entry['text']}"
        lines.append(f"| {name} | {text} | {entry['seconds'] / 60:.1f} |")
    machine, python = platform.processor() or platform.machine(), platform.python_version()
    where = f"{datetime.date.today()}, commit {commit()}, {machine}, {os.cpu_count()} cores, Python {python}"
    return "\n".join([*lines, "", where])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into TRUST.md")
    args = parser.parse_args()
    STATE.mkdir(parents=True, exist_ok=True)
    record, lock = STATE / f"{commit()}.json", threading.Lock()
    results = json.loads(record.read_text()) if record.is_file() else {}

    def work(lane):
        for name, part in lane.items():
            if results.get(name, {}).get("fine"):
                continue
            begin = time.monotonic()
            fine, text = part()
            with lock:
                results[name] = {"fine": fine, "text": text, "seconds": time.monotonic() - begin}
                record.write_text(json.dumps(results, indent=1))
                print(f"{name}: {text}{'' if fine else '   FAILED'}", flush=True)

    with ThreadPoolExecutor(len(LANES)) as pool:
        list(pool.map(work, LANES))
    text = table(results)
    print(f"\n{text}")
    if args.write:
        page = ROOT / "book" / "chapters" / "trust.md"
        before, _, rest = page.read_text().partition("<!-- measured -->\n")
        page.write_text(f"{before}<!-- measured -->\n\n{text}\n\n<!-- end -->{rest.partition('<!-- end -->')[2]}")
    return 0 if all(entry["fine"] for entry in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
