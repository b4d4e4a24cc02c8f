"""The machine: variables of children, and an honest check of the installation."""

import importlib.metadata
import json
import os

from sarlab.cli import main
from sarlab.lab import machine


def test_variables_are_as_before_after_the_block(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with machine.inherited_threads(2):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("2", "2")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_a_sound_installation_is_told_so_for_people_and_for_scripts(capsys, tmp_path, monkeypatch):
    from sarlab.peers import codecs

    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "no problems found" in out
    assert all(word in out for word in ("torch", "jpeg2000", "GPU", "free space"))
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    assert {finding["name"] for finding in found if finding["topic"] == "codecs"} == set(codecs)
    assert set(found[0]) == {"topic", "name", "state", "ok", "advice"}


def test_missing_libraries_come_with_the_command_that_installs_them(monkeypatch):
    known = importlib.metadata.version

    def version(name):
        if name in ("rasterio", "papermill"):
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = {finding.name: finding for finding in machine.check_packages()}
    assert (found["rasterio"].ok, found["rasterio"].advice) == (False, "pip install rasterio")
    # an extra is a choice
    assert (found["papermill"].ok, found["papermill"].advice) == (True, "pip install 'sarlab[lab]'")
    assert "pytest" not in found


def test_a_full_disk_and_a_read_only_folder_are_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1e8}))
    monkeypatch.setattr(machine.os, "access", lambda folder, mode: False)
    found = machine.check_folder(tmp_path)
    assert [finding.ok for finding in found] == [False, False]
    assert all(finding.advice for finding in found)
