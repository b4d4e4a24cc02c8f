"""Open scenes that can be fetched: where they are, and the hashes that are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sarlab.scenes.fetch import Download, cache_folder, is_fetched

_CHIPS = "https://storage.googleapis.com/sen1floods11/v1.1/data/flood_events/HandLabeled/S1Hand/"

#: Bytes and SHA-256 of chips that were at hand when this was written (copies out of a public repository).
_CHIP_HASHES = {
    "Ghana_53713": (1771472, "9b02324cd247cbe8212c73f958f430655972d010de8bab7e79f1c442f25a9bb6"),
    "Ghana_83483": (1787911, "affd4371d4806abad4fa259298be31c35efdeca18e9aadac3222d7a088215ee7"),
    "India_900498": (1668656, "83bc6bca280cb51264028515c944928ea2201386bee411d8bb5cabbcb51cc4a6"),
    "Nigeria_812045": (1792307, "60721c48b1bc862abdb9e6b0ee93d67590fb058f4581e43f615569b22beff4e0"),
    "Pakistan_849790": (1588159, "ff1f7b9afce78918808ced5d648d4df28a2047a05f934f649e728bad38533007"),
    "Somalia_699062": (1776009, "c905fcba8efe764f1c91d9b1fb061da12b797c645ad33b80befb575dc00a5d38"),
    "Spain_6860600": (1490744, "5ffd422a0375aa9113e078d7481643355aa9109dbaa459e03b659c0bde503787"),
    "USA_905409": (1479391, "0ec326c52448475242517cfe160b63eceb5af4c549474d3b6fbfc718a3c03abf"),
}

_UMBRA = (
    "https://umbra-open-data-catalog.s3.amazonaws.com/sar-data/tasks/Tanna%20Island,%20Vanuatu/"
    "9c76a918-9247-42bf-b9f6-3b4f672bc148/2023-02-12-21-33-56_UMBRA-04/2023-02-12-21-33-56_UMBRA-04_GEC.tif"
)


@dataclass(frozen=True)
class DownloadSource:
    """Files of one downloadable source.

    Parameters
    ----------
    name, title, license, credit : str
    looks : float or None
    quantity : str
        Of the samples.
    files : tuple of Download
    """

    name: str
    title: str
    license: str
    credit: str
    looks: float | None
    quantity: str
    files: tuple[Download, ...]

    @property
    def folder(self) -> Path:
        """Where its files are kept."""
        return cache_folder() / self.name

    @property
    def missing(self) -> tuple[Download, ...]:
        """Files that are not in the cache."""
        return tuple(file for file in self.files if not is_fetched(file, self.folder))


SOURCES = {
    source.name: source
    for source in (
        DownloadSource(
            "sen1floods11",
            "Sentinel-1 IW GRD, VV and VH, 10 m, eight chips of 512×512 from seven flood events",
            "Copernicus Sentinel data: free use with credit; chips by Bonafilia et al., CVPR Workshops 2020",
            "contains modified Copernicus Sentinel data [2016–2019]; Sen1Floods11 (Bonafilia et al., 2020)",
            4.4,
            "db",
            tuple(
                Download(f"{_CHIPS}{name}_S1Hand.tif", f"{name}_S1Hand.tif", sha256, size)
                for name, (size, sha256) in _CHIP_HASHES.items()
            ),
        ),
        DownloadSource(
            "umbra-tanna",
            "Umbra X-band spotlight GEC, 8-bit amplitude, 0.6 m, Tanna (Vanuatu), 2023-02-12",
            "CC BY 4.0",
            "Umbra Space Open Data, CC BY 4.0",
            None,
            "amplitude",
            (Download(_UMBRA, "2023-02-12-21-33-56_UMBRA-04_GEC.tif"),),
        ),
    )
}
