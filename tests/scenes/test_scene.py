"""Fields of a scene that follow from names."""

import pytest

from sarlab.scenes.scene import acquisition_of, polarization, time_of

GRD = "S1A_IW_GRDH_1SDV_20200607T010800_20200607T010825_032904_03CFBA_D457"


@pytest.mark.parametrize(("name", "found"), [("S1A_IW_VV_x", "VV"), ("sar_hv", "HV"), ("VV_VH", ""), ("survival", "")])
def test_polarization_is_that_of_the_name(name, found):
    assert polarization(name) == found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (f"/data/{GRD}/VV.tif", GRD),
        ("/data/Ghana_53713_S1Hand.tif", "Ghana"),
        ("/x/Ghana_83483_S1Hand.tif", "Ghana"),
        ("/data/sar_hh.tif", "sar"),
        ("/data/sar_vv.tif", "sar"),
        ("/data/night/VV.tif", "night"),
    ],
)
def test_acquisition_is_that_of_the_path(path, found):
    assert acquisition_of(path) == found


@pytest.mark.parametrize(
    ("path", "tags", "found"),
    [
        ("/x/y.tif", {"ACQUISITION_START_TIME": "2020-01-02T03:04:05.6"}, "2020-01-02T03:04:05.6"),
        (f"/x/{GRD}.SAFE", {"TIFFTAG_DATETIME": "2021:01:01 00:00:00"}, "2020-06-07T01:08:00"),
        ("/x/2023-06-23_UMBRA-06_GEC.tif", {}, "2023-06-23"),
        ("/x/S1A__IW___A_20150309T173017_VV.tif", {}, "2015-03-09T17:30:17"),
        ("/x/scene_12345678901234.tif", {}, ""),
        ("/x/HH_20151301.tif", {}, ""),
        ("/x/CAPELLA_C06_SP_GEO_HH_20220102030405_20220102030410.tif", {}, "2022-01-02T03:04:05"),
    ],
)
def test_time_is_that_of_tags_or_else_of_the_path(path, tags, found):
    assert time_of(path, tags) == found
