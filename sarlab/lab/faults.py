"""What the operating system refused, in one sentence: a full disk, a read-only folder."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path

from sarlab.errors import SarlabError
from sarlab.files import write_text

#: Refusals that have nothing to do with the run that met them: every other run would meet them too.
FATAL = {
    errno.ENOSPC: "the disk is full; free some space, then the same command goes on",
    errno.EDQUOT: "the disk quota is used up; free some space, then the same command goes on",
    errno.EROFS: "the file system is read-only; choose another folder",
}
_WRITING = {
    errno.EACCES: "no permission to write there; choose another folder",
    errno.EPERM: "no permission to write there; choose another folder",
    errno.ENOTDIR: "a file is where a folder should be; choose another folder",
    errno.EEXIST: "a file is where a folder should be; choose another folder",
    errno.ENAMETOOLONG: "the path is too long for this file system; choose another folder",
}


class DiskError(SarlabError):
    """The file system takes no more: no run can go on."""


def explain(error: BaseException | str) -> str:
    """One sentence for a refusal that stops every run; empty for all other errors.

    Parameters
    ----------
    error : exception or str
        Also the text of one that another process met. Libraries in other languages hide the number in their text.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        found = re.search(r"\[Errno (\d+)\]|\(os error (\d+)\)", str(error))
        number = int(found[1] or found[2]) if found else None
    if number not in FATAL:
        return ""
    path = getattr(error, "filename", None) or _path_in(str(error))
    return f"{path}: {FATAL[number]}" if path else FATAL[number]


def _path_in(text: str) -> str:
    found = re.search(r"'(/[^']+)'", text)
    return found[1] if found else ""


def check_writable(folder: Path, option: str = "--runs") -> None:
    """Create `folder` and write a byte into it.

    Parameters
    ----------
    folder : Path
    option : str
        Option of the command line that chooses the folder.

    Raises
    ------
    DiskError
        Saying why that cannot be done.
    """
    trial = folder / f".writable-{os.getpid()}"
    try:
        write_text(trial, "?")
    except OSError as error:
        reason = {**_WRITING, **FATAL}.get(error.errno or 0, f"it cannot be written to ({error.strerror})")
        raise DiskError(f"{folder}: {reason}{f' with {option}' if reason.endswith('another folder') else ''}") from None
    finally:
        with contextlib.suppress(OSError):
            trial.unlink(missing_ok=True)
