"""The container of a compressed scene: a ``.sarl`` file.

    "SARL" version CRC │ writer fields │ index │ payload of tile 0 │ payload of tile 1 │ …

The header says what the file is, the index how long each tile's payload is and what its checksums are. Payloads are bytes
to this module. All numbers are little-endian; counts are varints (7 bits a byte, lowest first). The book's page on the
file format specifies every field.

Nothing is believed before it is checked: every count is compared with the size of the input before anything is allocated
for it, and the header's checksum before any field is used.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from sarlab._version import __version__
from sarlab.codec.header import VERSION, Cursor, Header, unpack_header
from sarlab.errors import BitstreamError, CodecError
from sarlab.files import replacing

MAGIC = b"SARL"

_ENTRY = struct.Struct("<IIH")
_PREFIX = struct.Struct("<4sBI")


@contextmanager
def writing(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write a container into: it appears under its name in one step on success, or not at all.

    Raises
    ------
    CodecError
        For what the system refuses: no space, no permission, no such folder.
    """
    try:
        with replacing(path) as temporary, temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CodecError(f"{path} cannot be written ({error.strerror or error}); nothing was left behind") from None


class StreamWriter:
    """Writes a container tile by tile, in the order of the tiles; a context manager.

    Parameters
    ----------
    file : binary file
        Must allow seeking; written from where it stands.
    header : Header
    """

    def __init__(self, file: BinaryIO, header: Header):
        self._file, self._head, self._header = file, header.pack(), header
        rows, columns = header.grid
        self._count, self._entries = rows * columns, list[tuple[int, int, int]]()

    @property
    def overhead(self) -> int:
        """Bytes before the first payload."""
        return _PREFIX.size + len(self._head) + _ENTRY.size * self._count

    def __enter__(self) -> StreamWriter:
        self._start = self._file.tell()
        self._file.write(bytes(self.overhead))
        return self

    def append(self, payload: bytes, check: int) -> None:
        """Add the next tile: its payload and the checksum of its latent (16 bits)."""
        if len(self._entries) == self._count:
            raise CodecError(f"the container has room for {self._count} tiles only")
        # Decoders read zeros past the end, so zeros at the end mean nothing.
        payload = payload.ljust(self._header.least_payload(len(self._entries)), b"\0")
        self._entries.append((len(payload), zlib.crc32(payload), check & 0xFFFF))
        self._file.write(payload)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            return
        if len(self._entries) != self._count:
            raise CodecError(f"{len(self._entries)} of {self._count} tiles were written")
        checked = self._head + b"".join(_ENTRY.pack(*entry) for entry in self._entries)
        end = self._file.tell()
        self._file.seek(self._start)
        self._file.write(_PREFIX.pack(MAGIC, VERSION, zlib.crc32(checked)) + checked)
        self._file.seek(end)


class StreamReader:
    """Reads a container: header and index at once, payloads one by one; a context manager.

    Parameters
    ----------
    source : path, bytes or seekable binary file

    Attributes
    ----------
    header : Header
    size : int
        Bytes of the whole container.
    lengths : list of int
        Bytes of each tile's payload.

    Raises
    ------
    BitstreamError
        For whatever is wrong with the input, naming it.
    """

    def __init__(self, source: str | Path | bytes | BinaryIO):
        self._stack = ExitStack()
        if isinstance(source, (str, Path)):
            self.name = str(source)
            try:
                opened = Path(source).open("rb")  # noqa: SIM115 (closed by the stack)
                self._file: BinaryIO = self._stack.enter_context(opened)
            except OSError as error:
                raise BitstreamError(f"{source} cannot be read ({error.strerror})") from None
        else:
            self.name = "the stream"
            self._file = io.BytesIO(source) if isinstance(source, (bytes, bytearray, memoryview)) else source
        try:
            self._start = self._file.tell()
            self.size = self._file.seek(0, io.SEEK_END) - self._start
            self._read_head()
        except BitstreamError as error:
            self._stack.close()
            raise BitstreamError(f"{self.name}: {error}") from None
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> StreamReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._stack.close()

    def _at(self, offset: int, length: int) -> bytes:
        self._file.seek(self._start + offset)
        data = self._file.read(length)
        if len(data) != length:
            raise BitstreamError(f"truncated: {self.size} bytes end inside the data")
        return data

    def _read_head(self) -> None:
        if self.size == 0:
            raise BitstreamError("empty, not a compressed scene")
        start = self._at(0, min(self.size, _PREFIX.size + 16))
        if start[:4] != MAGIC[: len(start)]:
            raise BitstreamError("not a compressed scene: it does not begin with 'SARL'")
        if self.size < len(start) or len(start) < _PREFIX.size + 5:
            raise BitstreamError(f"truncated: {self.size} bytes are too few for a header")
        _, version, checksum = _PREFIX.unpack_from(start)
        writer = (start[_PREFIX.size], start[_PREFIX.size + 1], start[_PREFIX.size + 2])
        if version != VERSION:
            wrote = ".".join(map(str, writer))
            raise BitstreamError(
                f"file format version {version}, of which this sarlab {__version__} reads only {VERSION}; "
                f"it was probably written by sarlab {wrote}: install that version or a later one"
            )
        cursor = Cursor(start[_PREFIX.size + 3 :])
        length = cursor.varint()
        begin = _PREFIX.size + 3 + cursor.position
        if begin + length > self.size:
            raise BitstreamError(f"truncated or damaged: a header of {length} bytes in a file of {self.size}")
        fields = self._at(begin, length)
        damaged: BitstreamError | None = None
        try:
            header = unpack_header(fields, writer)
            rows, columns = header.grid
            count = rows * columns
            if begin + length + count * _ENTRY.size > self.size:
                raise BitstreamError(f"truncated: no room for the index of {count} tiles in {self.size} bytes")
        except BitstreamError as error:
            damaged, count = error, 0
        index = self._at(begin + length, count * _ENTRY.size)
        if zlib.crc32(start[_PREFIX.size : begin] + fields + index) != checksum:
            raise (
                damaged
                if damaged and "truncated" in str(damaged)
                else BitstreamError("the header is damaged: its checksum is wrong")
            )
        if damaged:
            raise damaged
        entries = list(_ENTRY.iter_unpack(index))
        self.header, self.lengths = header, [entry[0] for entry in entries]
        self._checks = [entry[1:] for entry in entries]
        self._offsets = [begin + length + len(index)]
        for size in self.lengths:
            self._offsets.append(self._offsets[-1] + size)
        if self._offsets[-1] != self.size:
            what = "truncated" if self._offsets[-1] > self.size else "longer than it says"
            raise BitstreamError(f"{what}: {self.size} bytes where the index says {self._offsets[-1]}")

        for tile, length in enumerate(self.lengths):
            if length < header.least_payload(tile):
                raise BitstreamError(
                    f"tile {tile} has {length} bytes, too few for its size: the header is not to be believed"
                )

    @property
    def header_bytes(self) -> int:
        """Bytes before the first payload, index included."""
        return self._offsets[0]

    @property
    def index_bytes(self) -> int:
        """Bytes of the index."""
        return _ENTRY.size * len(self.lengths)

    def payload(self, tile: int) -> bytes:
        """Payload of a tile, checked."""
        data = self._at(self._offsets[tile], self.lengths[tile])
        if zlib.crc32(data) != self._checks[tile][0]:
            raise BitstreamError(
                f"{self.name}: tile {tile} is damaged: its checksum is wrong; the other tiles may be intact"
            )
        return data

    def check(self, tile: int) -> int:
        """Stored checksum of a tile's latent, 16 bits."""
        return self._checks[tile][1]
