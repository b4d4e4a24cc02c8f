"""What a file says about its scene beyond the samples, as compact bytes: names, tags, georeference.

Canonical JSON, deflated with a preset dictionary of the phrases that such metadata is made of. The dictionary is part of
the file format: it may never change within a version.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from sarlab.errors import BitstreamError, CodecError
from sarlab.scenes.scene import Georeference, Scene
from sarlab.specs import canonical_json

#: Largest metadata before deflation, in bytes.
LIMIT = 1 << 20

_WKT = (
    'PROJCS["WGS 84 / Pseudo-Mercator",EXTENSION["PROJ4",AUTHORITY["EPSG","3857"]]LOCAL_CS["Unnamed"'
    'GEOGCS["ETRS89",DATUM["European_Terrestrial_Reference_System_1989",SPHEROID["GRS 1980",6378137,298.257222101,'
    'AUTHORITY["EPSG","7019"]],AUTHORITY["EPSG","6258"]],GEOGCS["NAD83",DATUM["North_American_Datum_1983",'
    'PROJCS["WGS 84 / UTM zone 33N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,'
    'AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]],'
    'PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",15],'
    'PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],PARAMETER["false_northing",10000000],'
    'UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["Easting",EAST],AXIS["Northing",NORTH],AUTHORITY["EPSG","32633"]]'
    'AXIS["Latitude",NORTH],AXIS["Longitude",EAST],AUTHORITY["EPSG","4326"]]'
)
_JSON = (
    '"SARLAB_NATIVE_QUANTITY":"amplitude","SARLAB_ZERO_FLOOR_DB":"-6.020599913279624","TIFFTAG_DATETIME":"20'
    '"TIFFTAG_SOFTWARE":"TIFFTAG_XRESOLUTION":"1","TIFFTAG_YRESOLUTION":"1","TIFFTAG_RESOLUTIONUNIT":"1 (unitless)"'
    '"OVR_RESAMPLING_ALG":"NEAREST","polarization":"VH","incidence_angle":"orbit_direction":"DESCENDING","ASCENDING"'
    '"license":"CC-BY-4.0","CDLA-Permissive-1.0","product":"S1A_IW_GRDH_1SDV_20S1B_IW_SLC__1SDV_20","tile":"'
    '"CAPELLA_C02_SM_GEO_HH_20","UMBRA-04_GEC","ICEYE_X"GAMMA","SNAP","tags":{"AREA_OR_POINT":"Point","simulated":true,'
    '"transform":[20.0,0.0,-0.0,500000.0,0.0,-20.0,0.5,"transform":[8.983152841195215e-05,0.0,"tags":{},'
    '{"acquisition":"S1A_IW_GRDH_1SDV_20","credit":"contains modified Copernicus Sentinel data [20","crs":"GEOGCS[\\"WGS'
    ' 84\\"","looks":4.4,"name":"S1A_IW_GRDH_1SDV_20","spacing":[10.0,10.0]'
)
#: Preset dictionary of version 1; what is likeliest stands last. Quotes in WKT are escaped, as JSON has them.
DICTIONARY = (_WKT.replace('"', '\\"') + _JSON).encode()


def scene_metadata(scene: Scene, georeference: Georeference | None = None) -> dict[str, Any]:
    """What is stored about a scene: everything but its samples, mask, bands and types; empty fields left out.

    Parameters
    ----------
    scene : Scene
    georeference : Georeference, optional
        Of the whole, where `scene` is a window of it.
    """
    reference = georeference or scene.georeference
    values: dict[str, Any] = {
        "acquisition": scene.acquisition,
        "credit": scene.credit,
        "looks": scene.looks,
        "name": "" if scene.name == "scene" else scene.name,
        "simulated": scene.simulated,
        "spacing": list(scene.spacing) if scene.spacing else None,
        "tags": dict(scene.tags),
    }
    if reference is not None:
        values |= {"crs": reference.crs, "transform": list(reference.transform)}
    return {key: value for key, value in values.items() if value or key == "transform"}


def scene_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `Scene` from stored metadata, every type checked.

    Raises
    ------
    BitstreamError
        Where a value is not what the format says it is.
    """
    try:
        fields: dict[str, Any] = {
            key: _of(str, values[key]) for key in ("acquisition", "credit", "name") if key in values
        }
        if "looks" in values:
            fields["looks"] = _number(values["looks"])
        if "simulated" in values:
            fields["simulated"] = _of(bool, values["simulated"])
        if "spacing" in values:
            row, column = values["spacing"]
            fields["spacing"] = (_number(row), _number(column))
        if "tags" in values:
            fields["tags"] = {key: _of(str, value) for key, value in _of(dict, values["tags"]).items()}
        if "transform" in values:
            a, b, c, d, e, f = (_number(v) for v in values["transform"])
            fields["georeference"] = Georeference(_of(str, values.get("crs", "")), (a, b, c, d, e, f))
    except (TypeError, ValueError) as error:
        raise BitstreamError(f"the metadata is not what the format says ({error})") from None
    return fields


def pack_metadata(values: Mapping[str, Any]) -> bytes:
    """Metadata → bytes; empty metadata is empty bytes."""
    if not values:
        return b""
    text = canonical_json(values).encode()
    if len(text) > LIMIT:
        raise CodecError(f"the scene's tags take {len(text)} bytes; at most {LIMIT} are stored, remove some")
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=DICTIONARY)
    return deflate.compress(text) + deflate.flush()


def unpack_metadata(data: bytes) -> dict[str, Any]:
    """Inverse of `pack_metadata`; inflates no more than the format allows.

    Raises
    ------
    BitstreamError
    """
    if not data:
        return {}
    inflate = zlib.decompressobj(-15, zdict=DICTIONARY)
    try:
        text = inflate.decompress(data, LIMIT + 1)
    except zlib.error as error:
        raise BitstreamError(f"the metadata is damaged ({error})") from None
    if len(text) > LIMIT or not inflate.eof or inflate.unused_data:
        raise BitstreamError("the metadata is damaged: it does not end where it should")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BitstreamError(f"the metadata is damaged ({type(error).__name__})") from None
    if not isinstance(values, dict):
        raise BitstreamError("the metadata is damaged: not a table")
    return values


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is not {kind.__name__}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a number")
    return float(value)
