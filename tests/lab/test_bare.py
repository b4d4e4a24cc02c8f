"""The inline executor needs nothing but torch, NumPy, SciPy, pandas, scikit-image and safetensors."""

import subprocess
import sys

BLOCKER = '''
import sys

ALLOWED = {"torch", "numpy", "scipy", "pandas", "skimage", "safetensors", "sarlab"}
# what the allowed ones themselves need
BELOW = {"dateutil", "six", "pytz", "tzdata", "lazy_loader", "packaging", "networkx", "PIL", "imageio", "tifffile",
         "typing_extensions", "sympy", "mpmath", "filelock", "fsspec", "jinja2", "markupsafe", "triton", "nvidia",
         "setuptools", "pkg_resources", "_distutils_hack", "cython", "pyximport", "torchgen", "functorch", "optree"}


class Missing:
    """Finds what the path finder finds, but for modules that a bare machine has not: those are simply not there."""

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in ALLOWED | BELOW or top in sys.stdlib_module_names or top.startswith("_"):
            return self.finder.find_spec(name, path, target)
        return None


sys.meta_path[:] = [
    Missing(f) if getattr(f, "__name__", "") in ("PathFinder",) else f for f in sys.meta_path
]
'''


def test_inline_sweep_on_a_bare_machine(tmp_path):
    plan = tmp_path / "bare.toml"
    plan.write_text(
        'title = "bare"\n[train]\nsteps = 2\nbatch_size = 1\npatch_size = 32\nvalidate_every = 1\n'
        '[model]\nwidth = 4\ninit = "klt"\narchitecture = ["klt", "plain", "residual", "attention"]\n'
    )
    script = (
        BLOCKER
        + "from sarlab.cli import main\n"
        + f"raise SystemExit(main(['sweep', {str(plan)!r}, '--executor', 'inline', '--runs', {str(tmp_path / 'runs')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr + done.stdout
    assert len(list((tmp_path / "runs").glob("*/manifest.json"))) == 4


def test_the_blocker_blocks():
    done = subprocess.run([sys.executable, "-c", BLOCKER + "import rasterio"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "ModuleNotFoundError: No module named 'rasterio'" in done.stderr


def test_timings_of_a_bare_machine_can_be_taken(tmp_path):
    script = (
        BLOCKER
        + "from pathlib import Path\n"
        + "from sarlab.lab.studies.study_jobs import study_jobs\nfrom sarlab.specs import SceneSpec\n"
        + "from sarlab.lab.studies import cost as study_cost\n"
        + f"jobs = study_jobs(['cost'], SceneSpec(), Path({str(tmp_path)!r}))\n"
        + "study_cost.ARCHITECTURES = ()\n"
        + "for job in jobs:\n    job.run(1)\n    assert job.manifest['name'] == job.name\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr + done.stdout
