"""Run parsers on mutated input in processes of their own, and keep every input that does worse than a clear error.

    python tests/fuzz/harness.py --inputs 200000 --state FOLDER [--target stream …] [--seconds 60]

A target names seeds, a mutation and a parser (see `targets`). Input number `i` of a target is always the same, so the state is one number
a target: a run that was stopped goes on there. An input fails if it raises anything but an error of the package, ends the process, or
takes more than `CPU` seconds or `MEMORY` bytes beyond what its size and the samples it declares justify. It is kept under FOLDER/failures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: Seconds of processor time and bytes that any input may take.
CPU, MEMORY = 10.0, 500e6
#: What a declared sample and a byte of the input may take beyond that, in seconds and bytes.
CPU_PER_SAMPLE, MEMORY_PER_SAMPLE, MEMORY_PER_BYTE = 2e-6, 64, 64
#: Inputs that a process handles before the next one takes its place.
BATCH = 250
#: A process may stand still this long: one that does is stopped, and its input has failed.
PATIENCE = 90.0


@dataclass(frozen=True)
class Target:
    """A parser of foreign data.

    `run` takes the input and an empty folder, and returns the number of samples that the input declares; every error of
    the package is a proper answer.
    """

    name: str
    seeds: Callable[[], list[bytes]]
    mutate: Callable[[random.Random, bytes], bytes]
    run: Callable[[bytes, Path], int]


def peak_memory() -> int:
    """Most bytes of memory that this process has held since `forget_peak`."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def forget_peak() -> None:
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def examine(target: Target, data: bytes, folder: Path) -> tuple[str, str]:
    """Run a target on one input: what it answered, and what is wrong with that, or nothing."""
    from sarlab.errors import SarlabError

    forget_peak()
    memory, cpu, samples = peak_memory(), time.process_time(), 0
    try:
        samples, answer, wrong = target.run(data, folder), "valid", ""
    except SarlabError as error:
        samples, answer, wrong = getattr(error, "samples", 0), type(error).__name__, "" if str(error) else "no message"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        answer, wrong = type(error).__name__, "".join(traceback.format_exception(error)[-3:])
    cpu, memory = time.process_time() - cpu, peak_memory() - memory
    spent = []
    if cpu > CPU + CPU_PER_SAMPLE * samples:
        spent.append(f"{cpu:.1f} s")
    if memory > MEMORY + MEMORY_PER_SAMPLE * samples + MEMORY_PER_BYTE * len(data):
        spent.append(f"{memory / 1e6:.0f} MB")
    if spent:
        wrong = wrong or f"{', '.join(spent)} for {len(data)} bytes that declare {samples} samples"
    return answer, wrong


def input_of(target: Target, number: int) -> bytes:
    """Input `number` of a target: a seed with one to four mutations."""
    rng = random.Random(f"{target.name} {number}")
    data = rng.choice(target.seeds())
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = target.mutate(rng, data)
    return data


def _work(name: str, first: int, last: int, scratch: Path, pipe) -> None:
    """Examine inputs in a process of its own, which tells each answer."""
    from targets import TARGETS

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    target = TARGETS[name]
    for number in range(first, last):
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            pipe.send(examine(target, input_of(target, number), Path(folder)))


def answers_of(name: str, first: int, last: int, end: float) -> Iterator[tuple[str, str]]:
    """Answers to inputs `first` to `last` from one process, as many as it gives before the time `end` and its own end."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as scratch:
        worker = context.Process(target=_work, args=(name, first, last, Path(scratch), theirs))
        worker.start()
        theirs.close()
        number = first
        with contextlib.suppress(EOFError):
            while time.monotonic() < end and ours.poll(PATIENCE):
                yield ours.recv()
                number += 1
        lost = number < last and time.monotonic() < end
        worker.kill()
        worker.join()
        if lost:
            still = worker.exitcode == -9
            yield "", f"the process {f'stood still for {PATIENCE:.0f} s' if still else f'ended with {worker.exitcode}'}"


def fuzz(names: list[str], inputs: int, state: Path, *, seconds: float = float("inf"), say=print) -> dict[str, Counter]:
    """Examine `inputs` mutated inputs of each target, or as many as `seconds` allow in all; returns their answers."""
    from targets import TARGETS

    state.mkdir(parents=True, exist_ok=True)
    record = state / "fuzz.json"
    done = json.loads(record.read_text()) if record.is_file() else {}
    done |= {name: Counter(done.get(name, {})) for name in names}
    for name in names:
        TARGETS[name].seeds()  # once, before the processes that share them
    end = time.monotonic() + seconds
    for index, name in enumerate(names):
        target, answers, now = TARGETS[name], done[name], time.monotonic()
        share = now + (end - now) / (len(names) - index)
        while (first := answers.total()) < inputs and time.monotonic() < share:
            for number, (answer, wrong) in enumerate(answers_of(name, first, min(first + BATCH, inputs), share), first):
                answers["failed" if wrong else answer] += 1
                if wrong:
                    folder = state / "failures" / name
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / f"{number}.bin").write_bytes(input_of(target, number))
                    (folder / f"{number}.txt").write_text(wrong)
            record.write_text(json.dumps(done))
            say(f"{name}: {answers.total()} of {inputs} inputs, {answers['failed']} failed", flush=True)
    return {name: done[name] for name in names}


def main() -> int:
    from targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, names = parser.add_argument, ", ".join(TARGETS)
    add("--target", nargs="+", choices=TARGETS, default=[*TARGETS], metavar="NAME", help=names)
    add("--inputs", type=int, default=1000, help="inputs of each target (default %(default)s)")
    add("--seconds", type=float, default=float("inf"), help="end after this time")
    add("--state", type=Path, required=True, metavar="FOLDER", help="counts and failures; a later call goes on there")
    add("--again", type=Path, nargs="+", metavar="FILE", help="examine these inputs of the one target instead")
    args = parser.parse_args()
    if args.again:
        for path in args.again:
            with tempfile.TemporaryDirectory() as folder:
                print(path, *examine(TARGETS[args.target[0]], path.read_bytes(), Path(folder)))
        return 0
    answers = fuzz(args.target, args.inputs, args.state, seconds=args.seconds)
    for name, found in answers.items():
        print(f"{name:12} {found.total():8} inputs  {dict(found.most_common())}")
    return 1 if any(found["failed"] for found in answers.values()) else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
