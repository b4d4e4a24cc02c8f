"""Tables made up by formulas, shared by the tests of the views."""

import json
import re

import pytest


@pytest.fixture(scope="session")
def filled(synthetic, tmp_path_factory):
    """Tables of a book with runs, histories, codecs, limits and pictures."""
    from sarlab.lab.results import tables

    root = tmp_path_factory.mktemp("filled")
    synthetic.write(root, codecs=True)
    return tables(root)


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """Tables of a book without any result."""
    from sarlab.lab.results import tables

    return tables(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def packed():
    """Function that reads the data of the script of a chart, a panel or a slider."""
    return lambda shown: json.loads(re.search(r'<script type="application/json">(.*?)</script>', shown.data)[1])
