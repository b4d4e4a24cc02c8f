"""The diagnosis: complete, honest about what is missing, with a way out."""

import json

from sarlab.cli import main
from sarlab.lab import doctor


def test_a_sound_installation_is_told_so(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "all is well" in out
    assert all(word in out for word in ("torch", "jpeg2000", "GPU", "free space"))


def test_every_codec_is_listed_for_scripts(capsys):
    from sarlab.codec.codec import codecs

    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    assert {finding["name"] for finding in found if finding["topic"] == "codecs"} == set(codecs)


def test_what_is_missing_comes_with_the_way_to_get_it(capsys, monkeypatch):
    known = doctor.importlib.util.find_spec
    monkeypatch.setattr(
        doctor.importlib.util, "find_spec", lambda name: None if name in ("rasterio", "papermill") else known(name)
    )
    found = {finding.name: finding for finding in doctor.packages()}
    assert not found["rasterio"].ok
    assert found["rasterio"].advice == "pip install rasterio"
    assert found["papermill"].ok, "an extra is a choice"
    assert found["papermill"].advice == "pip install 'sarlab[lab]'"


def test_a_full_disk_and_a_read_only_folder_are_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1e8}))
    monkeypatch.setattr(doctor.os, "access", lambda folder, mode: False)
    found = doctor.folders(tmp_path)
    assert [finding.ok for finding in found] == [False, False]
    assert all(finding.advice for finding in found)
