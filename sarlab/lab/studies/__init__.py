"""Studies: measurements that train no network of a plan, one file per table of the book.

A study is a function of a `Context` and one registration, here or in a package that names its module under the entry
point group ``sarlab.studies``::

    @study("limits", version=1)
    def limits(context: Context) -> pd.DataFrame: ...

A plan names its studies (``studies = ["codecs", "limits"]``); `study_jobs` computes and keeps their tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sarlab.errors import PlanError
from sarlab.registry import Registry
from sarlab.scenes.splits import Split
from sarlab.specs import SceneSpec

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Context:
    """Input of a study.

    Parameters
    ----------
    scenes : SceneSpec
    split : Split
    workers : int
        Processes it may use.
    folder : Path
        For journals of long studies, so that they resume.
    """

    scenes: SceneSpec
    split: Split
    workers: int
    folder: Path


Compute = Callable[[Context], "pd.DataFrame"]


@dataclass(frozen=True)
class Study:
    """A registered study.

    Parameters
    ----------
    compute : callable
        `Context` → DataFrame.
    version : int
        Part of the identity of the table; raise it when a change of the code changes the table.
    """

    compute: Compute
    version: int


#: Studies by the name of their table.
studies: Registry[Study] = Registry("study", "sarlab.studies", PlanError)


def study(name: str, *, version: int) -> Callable[[Compute], Compute]:
    """Return a decorator that registers a function as the study `name`."""

    def decorate(compute: Compute) -> Compute:
        studies.register(name)(Study(compute, version))
        return compute

    return decorate
