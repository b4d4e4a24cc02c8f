"""Scenes by name: the embedded ones against their originals, and downloads from a server on this machine."""

import hashlib
import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pooch
import pytest
import rasterio
import requests

from sarlab.errors import SceneError
from sarlab.scenes import catalog
from sarlab.scenes.catalog import DOWNLOADS, Entry, load_scene, load_split, reference_normalizers, sentinel1
from sarlab.scenes.radiometry import from_db
from sarlab.scenes.readers import read_scene
from sarlab.scenes.splits import scene_duplicate_share
from sarlab.specs import SceneSpec

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
FILE, HASH = "scene.tif", hashlib.sha256(CONTENT).hexdigest()
ENTRY = Entry("mine", "download", "A scene", "MIT", url="https://scenes.test/folder/", files={FILE: HASH})


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SARLAB_CACHE", str(tmp_path))


def test_every_entry_of_the_catalog_has_a_license_and_every_download_a_credit():
    assert all(entry.title and entry.license for entry in catalog.catalog_entries.values())
    assert all(entry.credit and entry.url.startswith("https://") for entry in DOWNLOADS.values())


def test_unknown_names_and_other_quantities_are_refused_with_a_hint():
    for typo, name in (("bigearthnt", "bigearthnet"), ("ben-33UUP-37-98", "ben-33UUP-37-88")):
        with pytest.raises(SceneError, match=f"did you mean '{name}'"):
            catalog.load_scene(typo)
    for source, quantity in (("bigearthnet", "amplitude"), ("simulated-l1", "complex")):
        with pytest.raises(SceneError, match="are in dB"):
            load_split(SceneSpec(source, quantity))


def test_load_scene_by_name_source_and_file(tmp_path):
    assert load_scene("ben-33UUP-33-69").shape == (2, 240, 240)
    assert load_scene("bigearthnet").name == "ben-33UUP-37-88"
    assert load_scene("sentinel1").name == "morocco-20230904"
    assert load_scene("azores").quantity == "db"
    assert load_scene("simulated-l1").simulated
    np.save(tmp_path / "mine.npy", np.full((9, 9), 3, np.uint8))
    assert load_scene(str(tmp_path / "mine.npy")).quantity == "amplitude"


# Embedded scenes


def test_assets_are_small_and_licensed():
    assert sum(file.stat().st_size for file in catalog.ASSETS.iterdir()) < 8e6
    packed = {record.files[0].name for record in sentinel1().records}
    assert {file.name for file in catalog.ASSETS.glob("*.tif")} == {"optical_control.tif", *packed}
    text = (catalog.ASSETS / "CREDITS.md").read_text()
    assert "modified Copernicus Sentinel data [2014–2024]" in text
    for record in sentinel1().records:
        assert (catalog.ASSETS / f"LICENSE-{record.license}.txt").is_file()
        assert f"**{record.license}.**" in text
        assert "contains modified Copernicus Sentinel data [20" in record.credit
    for holder in ("Katsuto Shimizu", "AIRCentre", "Olivier D'Hondt"):
        assert holder in text
        assert holder in (catalog.ASSETS / "LICENSE-MIT.txt").read_text()


@pytest.fixture(scope="module")
def split():
    return sentinel1().split(reference_normalizers())


def test_the_split_holds_out_places_and_passes(split, find_leaks):
    scenes = [scene for _, scene in split.roles()]
    assert split.digest.startswith("926dd98dcb4e")
    assert find_leaks(split, sentinel1().records) == []
    assert len({scene.acquisition for scene in scenes}) >= 12
    assert len({scene.place for scene in scenes}) >= 7
    # Networks are tested on 256² pixels or more, codecs on 512² or more.
    assert min(scene.data[0].size for scene in split.test) >= 256**2
    assert len({scene.acquisition for scene in split.test if scene.data[0].size >= 512**2}) >= 4


def test_every_scene_is_described_and_lies_in_the_clip_range(split):
    assert dict(split.normalizers) == reference_normalizers()
    for _, scene in split.roles():
        for name in ("place", "land_cover", "mode", "license", "credit", "acquisition", "looks"):
            assert getattr(scene, name), (scene.name, name)
        assert (scene.quantity, scene.dtype) == ("db", "float32")
        for band, plane in zip(scene.bands, scene.data, strict=True):
            low, high = split.normalizers[band].low, split.normalizers[band].high
            assert low + 5 < np.nanmedian(plane) < high - 5
            # The scene of unknown level has its median in the middle.
            assert scene.name != "azores" or np.nanmedian(plane) == pytest.approx((low + high) / 2, abs=0.011)


def original(raw, record):
    """Raw samples of a scene in dB, NaN where there are none, and the error that packing may add."""
    kind, last = record.name.split("-")[0], record.name.split("-")[-1]
    if kind == "myanmar":
        files = [rasterio.open(raw / "stacks" / "myanmar_30m" / f"{band}.tif") for band in ("vv", "vh")]
        layers = [[t.startswith(record.acquisition) for t in file.descriptions].index(True) + 1 for file in files]
        return np.stack([file.read(layer) / 100 for file, layer in zip(files, layers, strict=True)]), 2e-6
    name, quantity, error = {
        "morocco": (f"sentinel1_more/morocco_amp_{last}.tif", "amplitude", 0.01),
        "azores": ("sentinel1_more/azores_slc_iw3_vv_cint16.tif", "complex", 0.01),
        "belgian": ("sentinel1_more/belgian_coast_ships_grd_dn.tif", "amplitude", 1e-6),
        "png": (f"stacks/png_rtc30_vh/{last}_vh.tif", "intensity", 0.01),
    }[kind]
    data = read_scene(raw / name, quantity).data
    with np.errstate(divide="ignore"):
        return (10 if quantity == "intensity" else 20) * np.log10(np.abs(data).astype(np.float64)), error


def test_samples_match_the_originals(shared_data):
    if not (shared_data / "stacks").is_dir():
        pytest.skip(f"no raw scenes in {shared_data}")
    for record in (record for record in sentinel1().records if not record.name.startswith("ben-")):
        scene, packed = record.load(reference_normalizers()), read_scene(record.files[0], record.quantity)
        db = packed.data if packed.quantity == "db" else 20 * np.log10(packed.data.astype(np.float64))
        expected, most = original(shared_data, record)
        zeros = np.isneginf(expected)
        assert np.array_equal(scene.valid, ~np.isnan(expected)), record.name
        assert np.abs(db - expected)[scene.valid & ~zeros].max() <= most + 1e-6, record.name
        assert np.array_equal(from_db(scene, "intensity").data == 0, zeros), record.name


def test_the_bigearthnet_split_is_the_one_described():
    split, main = catalog.bigearthnet_split(), "S1B_IW_GRDH_1SDV_20170612T165809"
    (test,), (validation,) = split.test, split.validation
    assert repr(split) == "Split(train=6, validation=1, test=1, independent=4, bands=VV+VH, digest=5fbe73ad0df4)"
    assert {s.acquisition for s in (*split.train, validation, test)} == {main}
    assert main not in {s.acquisition for s in split.independent}
    for _, scene in split.roles():
        assert (scene.bands, scene.looks, scene.native_bits) == (("VV", "VH"), 4.4, 16)
        assert scene_duplicate_share(scene) < 0.03
    for index, (band, clip) in enumerate(split.normalizers.items()):
        samples = np.concatenate([s.data[index].ravel() for s in split.train])
        assert split.train[0].bands[index] == band
        assert (clip.low, clip.high) == pytest.approx(np.percentile(samples, [0.1, 99.9]), abs=1e-4)
    with pytest.raises(ValueError, match="read-only"):
        test.data[0, 0, 0] = 1


# Downloads


@pytest.fixture
def server(monkeypatch):
    """A server that sends `content`, or the next of `statuses`, or breaks off after the next of `lengths`."""
    state = SimpleNamespace(content=CONTENT, statuses=[], lengths=[], requests=0)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            state.requests += 1
            if state.statuses:
                self.send_error(state.statuses.pop(0))
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(state.content)))
            self.end_headers()
            self.wfile.write(state.content[: state.lengths.pop(0) if state.lengths else None])

    get = requests.get
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        local = f"http://127.0.0.1:{http.server_port}"
        monkeypatch.setattr(requests, "get", lambda url, **k: get(url.replace("https://scenes.test", local), **k))
        monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield state
        http.shutdown()


def test_a_file_is_downloaded_once_and_again_if_it_is_damaged_or_the_server_fails(server, tmp_path):
    assert ENTRY.missing
    path = ENTRY.fetch(FILE, progress=False)
    assert path.read_bytes() == CONTENT
    assert list((tmp_path / "mine").iterdir()) == [path]
    assert not ENTRY.missing
    assert ENTRY.fetch(FILE) == path
    assert server.requests == 1
    path.write_bytes(b"damaged")
    server.statuses, server.lengths = [503], [100_000]
    assert ENTRY.fetch(FILE, progress=True).read_bytes() == CONTENT
    assert server.requests == 4


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"statuses": [404] * 3}, "download failed .404.*by hand and put it at .*scene.tif"),
        ({"lengths": [1000] * 3}, "download failed .*broken"),
        ({"content": CONTENT[::-1]}, "does not match the known hash"),
    ],
)
def test_failed_downloads_leave_nothing(server, tmp_path, fault, message):
    vars(server).update(fault)
    with pytest.raises(SceneError, match=message):
        ENTRY.fetch(FILE, progress=False)
    assert list((tmp_path / "mine").iterdir()) == []


def test_without_a_network_or_a_writable_cache_the_message_says_what_to_do(tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        entry = replace(ENTRY, url=f"https://127.0.0.1:{unused.getsockname()[1]}/")
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)
    with pytest.raises(SceneError, match=r"127\.0\.0\.1:.*refused.*scene\.tif.*'bigearthnet'") as error:
        entry.fetch(FILE, progress=False)
    assert "\n" not in str(error.value)
    (tmp_path / "full").write_text("")
    with pytest.raises(SceneError, match="set SARLAB_CACHE"):
        replace(ENTRY, name="full").fetch(FILE, progress=False)
    monkeypatch.delenv("SARLAB_CACHE")
    assert catalog.cache_folder().name == "sarlab"


def test_downloaded_chips_make_a_split(tmp_path, shared_data):
    folder = shared_data / "sentinel1_grd_chips"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    (tmp_path / "sen1floods11").mkdir()
    for name, digest in DOWNLOADS["sen1floods11"].files.items():
        assert pooch.file_hash(str(folder / name)) == digest
        (tmp_path / "sen1floods11" / name).symlink_to(folder / name)
    split = load_split(SceneSpec("sen1floods11"))
    assert len([*split.roles()]) == 8
    assert all("Sen1Floods11" in s.credit and s.looks == 4.4 for _, s in split.roles())
