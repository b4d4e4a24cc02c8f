"""Checksums of files, and those that servers state."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path


def server_checksums(headers: Mapping[str, str]) -> dict[str, str]:
    """Checksums in the headers of an answer, as hexadecimal digits by algorithm ("md5", "sha256").

    Content-MD5 and Google's ``x-goog-hash``; Amazon's SHA-256, and its ETag where that is an MD5 (no multipart upload).
    """
    found: dict[str, str] = {}
    etag = headers.get("etag", "").strip('"').lower()
    keyed = headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")
    if headers.get("server") == "AmazonS3" and not keyed and re.fullmatch(r"[0-9a-f]{32}", etag):
        found["md5"] = etag
    for item in headers.get("x-goog-hash", "").split(","):
        kind, _, value = item.strip().partition("=")
        if kind == "md5":
            found["md5"] = _hex(value, 16)
    if headers.get("content-md5"):
        found["md5"] = _hex(headers["content-md5"], 16)
    if headers.get("x-amz-checksum-sha256"):
        found["sha256"] = _hex(headers["x-amz-checksum-sha256"], 32)
    return {kind: value for kind, value in found.items() if value}


def _hex(encoded: str, size: int) -> str:
    try:
        raw = base64.b64decode(encoded, validate=True)
    except ValueError:
        return ""
    return raw.hex() if len(raw) == size else ""


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
