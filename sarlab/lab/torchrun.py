"""A sweep under torchrun: every run is trained by all processes together, and the first one does all the rest.

::

    torchrun --nproc-per-node 8 -m sarlab sweep large.toml --executor inline

The first process carries the jobs out as the inline executor does. The others take part in the trainings: they run the
same experiment in a folder of their own, which is thrown away.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sarlab.errors import SarlabError
from sarlab.lab.executors import Settings
from sarlab.lab.jobs import Job, state_of
from sarlab.models import distributed
from sarlab.models.distributed import ENDED, OVER, Team


@contextlib.contextmanager
def joined(settings: Settings) -> Iterator[tuple[Team, Settings]]:
    """Meet the other processes; yields the team and the settings with the device of this process."""
    crew = distributed.join(settings.device)
    cuda = settings.device in ("auto", "cuda") and distributed.torch.cuda.is_available()
    try:
        yield crew, replace(settings, device=distributed.local_device()) if cuda else settings
    finally:
        distributed.leave()


def lead(jobs: Sequence[Job], todo: Sequence[Job], crew: Team, execute: Callable[[list[Job]], list]) -> list:
    """Carry out `todo` in the first process, telling the others which of `jobs` is at hand.

    Parameters
    ----------
    jobs : sequence of Job
        The same in all processes.
    todo : sequence of Job
        Some of them.
    crew : Team
    execute : callable
        Carries out a list of one job and returns how it ended.
    """
    ended = []
    for job in todo:
        crew.say(jobs.index(job))
        ended += execute([job])
        crew.say(ENDED)
    crew.say(OVER)
    return ended


def follow(jobs: Sequence[Job], crew: Team, settings: Settings) -> None:
    """Take part in the trainings of the first process until it says that the sweep is over.

    Raises
    ------
    SarlabError
        If the processes no longer do the same.
    """
    while (word := crew.hear()) >= 0:
        try:
            _take_part(jobs[word], settings)
        except distributed.Dismissed:
            continue
        except SarlabError:
            # The first process meets the same, and tells it.
            pass
        if crew.hear() != ENDED:
            raise SarlabError(f"{jobs[word].run_id}: the processes of this sweep no longer do the same")
    if word != OVER:
        raise SarlabError("the processes of this sweep no longer do the same")


def _take_part(job: Job, settings: Settings) -> None:
    """The same experiment, from the same checkpoint and beside the same finished runs, in a folder that is thrown away."""
    from sarlab.lab import experiment
    from sarlab.lab.identity import run_id
    from sarlab.lab.lineage import base_of, start_of
    from sarlab.scenes.catalog import load_split

    # Runs whose weights this one takes over or starts from come first, and may have been finished or begun before.
    folders, spec = [job.folder], base_of(job.spec) or start_of(job.spec)
    while spec is not None:
        folders.append(job.folder.parent / run_id(spec, load_split(spec.scenes).digest))
        spec = base_of(spec) or start_of(spec)
    with tempfile.TemporaryDirectory(prefix="sarlab-") as name:
        own = Path(name)
        for folder in folders:
            (own / folder.name).mkdir()
            complete = state_of(folder) == "complete"
            for path in folder.glob("*" if complete else "checkpoint*"):
                if path.is_file():
                    shutil.copy(path, own / folder.name)
        experiment.run(job.spec, own / job.folder.name, device=settings.device, time_budget=settings.time_left())
