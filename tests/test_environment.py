"""Places that state how to install and run the package agree: pyproject, conda, constraints, Makefile, workflow, README."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
CONSTRAINTS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.strip() and line[0] != "#"]


def test_conda_and_make_install_the_package_with_all_extras_and_the_constraints():
    python = next(e for e in CONDA["dependencies"] if isinstance(e, str) and e.startswith("python"))
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(PROJECT["requires-python"])
    by_pip = next(entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict))
    extras = ",".join(PROJECT["optional-dependencies"])
    assert sorted(by_pip) == ["-c constraints.txt", f"-e .[{extras}]"], "all other requirements are in pyproject.toml"
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"install .*-c constraints\.txt -e '\.\[{extras}\]'", makefile)


def test_make_passes_paths_with_spaces_and_quotes_as_one_word():
    command = ["make", "-n", "book", "SCENES=my scenes/it's.tif", "QUANTITY=db", "RUNS=my runs", "PLAN=a plan.toml"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for verb, plan in (("sweep", ["a plan.toml"]), ("report", ["--plan", "a plan.toml"])):
        (line,) = (line for line in shown.splitlines() if f"/sarlab {verb} " in line)
        words = shlex.split(line)[2:]
        assert words[: len(plan)] == plan
        for option, value in (("--scenes", "my scenes/it's.tif"), ("--quantity", "db"), ("--runs", "my runs")):
            assert words[words.index(option) + 1] == value


def test_constraints_pin_every_requirement_within_its_range_and_name_no_address():
    pinned = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in CONSTRAINTS)}
    listed = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    for requirement in map(Requirement, listed):
        assert canonicalize_name(requirement.name) in pinned, requirement.name
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} but {version} is pinned"
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in CONSTRAINTS)


def test_citation_names_version_and_license_of_the_package():
    from sarlab import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] == __version__
    assert citation["license"] == PROJECT["license"]
    assert citation["title"].startswith(PROJECT["name"])
    assert "repository-code" not in citation or citation["repository-code"] in PROJECT.get("urls", {}).values()


def test_readme_commands_exist():
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", readme)) <= targets
    from sarlab.cli import VERBS

    verbs = re.findall(r"^sarlab ([a-z]+)", readme, re.MULTILINE)
    assert verbs
    assert set(verbs) <= set(VERBS)
    for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", readme):
        assert (ROOT / path).exists(), path


def test_the_workflow_builds_what_the_makefile_builds():
    """A workflow that names a target or a folder that is gone would fail only after it was pushed."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text())
    steps = workflow["jobs"]["build"]["steps"]
    makefile = (ROOT / "Makefile").read_text()
    for command in (step["run"] for step in steps if "run" in step):
        target = command.removeprefix("make ")
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), command
    uploaded = next(step["with"]["path"] for step in steps if "upload-pages" in step.get("uses", ""))
    assert uploaded == "_build/html"
    assert "--out _build" in makefile
    python = next(step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", ""))
    assert SpecifierSet(PROJECT["requires-python"]).contains(python)
    watched = workflow[True]["push"]["paths"]  # YAML 1.1 reads the key "on" as true
    assert all((ROOT / path.removesuffix("/**")).exists() for path in watched)


def test_jupyterlab_opens_the_text_of_a_notebook_as_a_notebook(tmp_path):
    pytest.importorskip("jupyterlab_server", reason="the lab extra is not installed")
    config = ROOT / "sarlab" / "assets" / "jupyter"
    assert str(config.relative_to(ROOT)) in (ROOT / "Makefile").read_text()
    script = "from jupyterlab_server.settings_utils import _get_overrides as get; print(get('.')[0])"
    environment = {**os.environ, "JUPYTER_CONFIG_PATH": str(config), "JUPYTER_CONFIG_DIR": str(tmp_path)}
    shown = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "'python': 'Jupytext Notebook'" in shown.stdout
