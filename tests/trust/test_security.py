"""A scene is data: what it names is neither opened nor run nor sent to a terminal, and what it declares is not believed."""

import socket
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import rasterio
from forged import assembled

from sarlab.cli import main
from sarlab.codec import entropy
from sarlab.codec.api import compress, decompress
from sarlab.codec.container import StreamReader
from sarlab.codec.tiles import SHARED, checksum
from sarlab.errors import BitstreamError, SceneError
from sarlab.lab.results import read_table, write_table
from sarlab.scenes.readers import read_scene
from sarlab.scenes.scene import Scene
from sarlab.scenes.writers import write_geotiff

NASTY = '=HYPERLINK("x")</script><img src=x onerror=alert(1)>\x1b[2J\x9b31m'


@pytest.fixture
def image(tmp_path):
    data = np.random.default_rng(0).gamma(4, 0.25, (1, 40, 50)).astype(np.float32)
    write_geotiff(Scene(data, "intensity", ("VV",), "a", tags={"note": NASTY}), tmp_path / "a.tif")
    return tmp_path / "a.tif"


XML = {
    "x.vrt": '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>'
    "{}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>",
    "wms.xml": '<GDAL_WMS><Service name="TMS"><ServerUrl>{}</ServerUrl></Service><DataWindow><SizeX>9</SizeX><SizeY>9</SizeY></DataWindow></GDAL_WMS>',
    "wcs.xml": "<WCS_GDAL><ServiceURL>{}</ServiceURL><CoverageName>x</CoverageName></WCS_GDAL>",
    "x.gdalg.json": '{{"type": "gdal_streamed_alg", "command_line": "gdal raster reproject {} x"}}',
    "x.tif": "{}",
}


@pytest.mark.parametrize("name", XML)
@pytest.mark.parametrize("address", ["http://127.0.0.1:{}/a.tif", "/vsicurl/http://127.0.0.1:{}/a.tif", "../b.tif"])
def test_a_scene_makes_no_connection_and_opens_no_file_elsewhere(name, address, tmp_path):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.2)
        folder = tmp_path / "in"
        folder.mkdir()
        (folder / name).write_text(XML[name].format(address.format(server.getsockname()[1])))
        with pytest.raises(SceneError):
            read_scene(folder / name)
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_link_out_of_the_folder_of_a_vrt_is_not_followed(image, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "b.tif").symlink_to(image)
    text = XML["x.vrt"].format("b.tif").replace("<SourceFilename>", '<SourceFilename relativeToVRT="1">')
    (folder / "x.vrt").write_text(text)
    with pytest.raises(SceneError, match="allow-external"):
        read_scene(folder / "x.vrt", "intensity")


def test_only_stated_formats_are_opened(tmp_path):
    (tmp_path / "x.txt").write_text("ncols 2\nnrows 2\nxllcorner 0\nyllcorner 0\ncellsize 1\n1 2\n3 4\n")
    with rasterio.open(tmp_path / "x.txt") as file:
        assert file.driver == "AAIGrid", "GDAL itself would open it"
    with pytest.raises(SceneError):
        read_scene(tmp_path / "x.txt")


def test_names_and_tags_reach_no_terminal(image, tmp_path, capsys):
    assert main(["compress", str(image), str(tmp_path / "a.sarl"), "--quantity", "intensity"]) == 0
    assert main(["info", str(tmp_path / "a.sarl")]) == 0
    assert main(["info", str(tmp_path / "a.sarl"), "--json"]) == 0
    assert main(["info", str(tmp_path / "\x1b[2J.sarl")]) == 1
    out, err = capsys.readouterr()
    assert not {"\x1b", "\x9b"} & set(out + err)
    assert "HYPERLINK" in out, "it is shown all the same"


def test_names_are_no_formulas_in_a_spreadsheet_and_come_back(tmp_path):
    names = ["=1+1", "+x", "-2", "@a", "'=quoted", "plain", "", None]
    write_table(pd.DataFrame({"scene": names, "bpp": 1.0}), tmp_path / "a.csv")
    cells = [line.rpartition(",")[0].strip('"') for line in (tmp_path / "a.csv").read_text().splitlines()[1:]]
    assert not any(cell[:1] in ("=", "+", "-", "@") for cell in cells)
    assert read_table(tmp_path / "a.csv")["scene"].fillna("").tolist() == [name or "" for name in names]


def test_names_are_text_in_a_picture_and_in_a_table():
    from sarlab.views import page
    from sarlab.views.compare import Variant, slider

    gray = np.zeros((24, 24), np.uint8)
    variants = [Variant(step, gray, NASTY, {NASTY: NASTY}, NASTY) for step in ("8×", "16×")]
    html = slider(gray, variants, (-25, 5), NASTY).data
    assert "<img src=x" not in html
    assert html.count("<script") == html.count("</script>") == 2
    assert "<img src=x" not in page.table(pd.DataFrame({"scene": [NASTY], NASTY: [1.0]}), caption=NASTY).data
    assert "<b>x</b>" in page.table(pd.DataFrame({"a": ["<b>x</b>"]}), caption="", markup=["a"]).data


def test_parameters_of_notebooks_are_values(tmp_path, monkeypatch):
    """A folder or a scene with quotes and code in its name is a text in the notebook that papermill runs."""
    import papermill.translators

    hostile = "x'; import os; os.mkdir('pwned') #\n"
    line = papermill.translators.PythonTranslator.codify({"folder": hostile})
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(line, found)  # what the kernel does
    assert found["folder"] == hostile
    assert not (tmp_path / "pwned").exists()


def bomb(data, samples):
    """The stream with a header that declares `samples` samples of nothing a row, in tiles of one byte."""
    header = replace(StreamReader(data).header, shape=(1, 1 << 14, samples >> 14), tile=1024)
    missing = entropy.pack_mask(np.zeros((1024, 1024), bool))
    empty = bytes([SHARED]) + entropy.varint(len(missing)) + missing
    tiles = header.grid[0] * header.grid[1]
    payloads = [empty.ljust(header.least_payload(tile), b"\0") for tile in range(tiles)]
    return assembled(header.pack(), payloads, checksum(np.zeros((1, 1024, 32, 32), np.int32)))


def test_a_small_file_that_declares_a_huge_scene_is_refused(tmp_path, capsys, monkeypatch):
    scene = Scene(np.random.default_rng(0).normal(-12, 3, (1, 64, 64)).astype(np.float32), "db", ("VV",))
    data = bomb(compress(scene, quality=12), 1 << 31)
    assert len(data) < 200_000
    taken, empty = [], np.empty
    monkeypatch.setattr(np, "empty", lambda shape, *rest: taken.append(np.prod(shape)) or empty(shape, *rest))
    with pytest.raises(BitstreamError, match="any-size"):
        decompress(data)
    assert max(taken, default=0) < 1 << 24, "it is refused before memory is taken for it"
    monkeypatch.undo()
    (tmp_path / "a.sarl").write_bytes(data)
    assert main(["decompress", str(tmp_path / "a.sarl"), str(tmp_path / "a.tif")]) == 1
    assert not (tmp_path / "a.tif").exists()
    assert main(["info", str(tmp_path / "a.sarl")]) == 0
    assert decompress(data, window=(0, 0, 64, 64)).shape == (1, 64, 64), "a window of it may be decoded"
