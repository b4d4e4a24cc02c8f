"""Runs of a second on a small scene, by both kinds of network."""

import numpy as np
import pytest

from sarlab.lab.runs import build_plan, jobs_of

PLAN = {
    "train": {"steps": 4, "batch_size": 1, "patch_size": 32, "validate_every": 2},
    "model": {"init": "klt", "width": 4, "latent_channels": 4, "architecture": ["klt", "plain"]},
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Function of a folder: the jobs of a KLT and a plain network, or of the plain one with so many steps."""
    scene = tmp_path_factory.mktemp("scene") / "small.npy"
    np.save(scene, 10 * np.log10(np.random.default_rng(0).gamma(4.4, 1 / 4.4, (160, 160))).astype(np.float32) - 10)

    def jobs(folder, *, steps=0, **changes):
        plan = PLAN
        if steps:
            plan = {**PLAN, "train": {**PLAN["train"], "steps": steps, "validate_every": 10}}
            plan["model"] = {**PLAN["model"], "architecture": "plain"}
        return jobs_of(build_plan("tiny", plan | changes, scenes=str(scene), quantity="db"), folder)

    return jobs
