"""Puts the notebooks and the book into the wheel; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithShare(build_py):
    """Copies what lies beside the package to ``sarlab/_share`` of the build."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        share = Path(self.build_lib) / "sarlab" / "_share"
        ignore = shutil.ignore_patterns("_build", "__pycache__", "*.pyc", ".ipynb_checkpoints")
        for name in ("notebooks", "book"):
            shutil.copytree(ROOT / name, share / name, ignore=ignore, dirs_exist_ok=True)
        for paired in (share / "notebooks").glob("*.ipynb"):
            paired.unlink()
        shutil.copy(ROOT / "_config.yml", share / "_config.yml")


setup(cmdclass={"build_py": BuildWithShare})
