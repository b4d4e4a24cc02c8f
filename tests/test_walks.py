"""Walks through the package: how many of its modules a reader enters to follow one thing from its start to its end."""

import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sarlab.cli import main
from sarlab.scenes.scene import Scene
from sarlab.scenes.writers import write_geotiff

PACKAGE = Path(__file__).resolve().parents[1] / "sarlab"
#: A plan of two experiments, of which the first is walked.
PLAN = (Path(__file__).parent / "trust" / "tiny.toml").read_text().rpartition("[[experiment]]")[0]


class Walk:
    """Record the modules of the package whose functions run, in all threads, without what importing runs."""

    def __enter__(self):
        self.modules = set()

        def note(frame, event, argument):
            path = frame.f_code.co_filename
            if event == "call" and path.startswith(str(PACKAGE)) and frame.f_code.co_name != "<module>":
                caller = frame.f_back
                while caller is not None and caller.f_code.co_name != "<module>":
                    caller = caller.f_back
                if caller is None or not caller.f_code.co_filename.startswith(str(PACKAGE)):
                    self.modules.add(str(Path(path).relative_to(PACKAGE)))

        threading.setprofile(note)
        sys.setprofile(note)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.fixture
def image(tmp_path):
    rng = np.random.default_rng(0)
    scene = Scene(rng.normal(-10, 3, (1, 96, 80)).astype(np.float32), "db", ("VV",), name="walk")
    write_geotiff(scene, tmp_path / "in.tif")
    return tmp_path / "in.tif"


def enter(name, walk, most, capsys, ground=("errors", "files", "registry", "specs", "_version")):
    """Print the modules of a walk, without those at the ground that everything uses, and hold them against their number."""
    modules = sorted(module for module in walk.modules if module.split(".")[0] not in ground)
    with capsys.disabled():
        print(f"\n  {name}: {len(modules)} modules: {', '.join(module.removesuffix('.py') for module in modules)}")
    assert len(modules) <= most


def test_compressing_a_file(image, capsys):
    with Walk() as walk:
        assert main(["compress", str(image), str(image.with_suffix(".sarl")), "--bpp", "1"]) == 0
    enter("sarlab compress", walk, 20, capsys)


def test_one_run_of_a_sweep(tmp_path, capsys):
    plan = tmp_path / "one.toml"
    plan.write_text(PLAN)
    with Walk() as walk:
        assert main(["sweep", str(plan), "--engine", "inline", "--no-notebook", "--runs", str(tmp_path / "runs")]) == 0
    enter("sarlab sweep, one run", walk, 30, capsys)


def test_a_row_of_a_table_reaches_its_figure(capsys):
    rows = pd.DataFrame({"scene": "a", "band": "VV", "split": "test", "acquisition": "p", "simulated": False, "codec": "jpeg2000",
                         "bpp": [0.5, 1.0, 2.0], "psnr_db": [26.0, 29.0, 34.0]})  # fmt: skip
    with Walk() as walk:
        from sarlab.views import figures, select

        figures.curves(select.measured(rows), "bpp", "psnr_db", "codec")
    enter("a row reaches its figure", walk, 4, capsys)
