"""Tables made up by formulas, shared by the tests of the views."""

import importlib.util
from pathlib import Path

import pytest


def load_synthetic():
    path = Path(__file__).resolve().parents[1] / "synthetic_tables.py"
    spec = importlib.util.spec_from_file_location("synthetic_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def synthetic():
    """The module that makes up tables."""
    return load_synthetic()


@pytest.fixture(scope="session")
def filled(synthetic, tmp_path_factory):
    """Tables of a book with runs, histories and pictures."""
    from sarlab.lab.results import tables

    root = tmp_path_factory.mktemp("filled")
    synthetic.write(root)
    return tables(root)


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """Tables of a book without any result."""
    from sarlab.lab.results import tables

    return tables(tmp_path_factory.mktemp("empty"))
