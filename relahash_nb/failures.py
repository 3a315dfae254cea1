"""What the disk, a database, a cluster or another library raised, as one line with what to do. Imports none of them."""

import errno
import traceback
from types import TracebackType

OURS = ("relahash_nb", "relahash_search")
# By the library that raised, or whose kind of error it is.
REMEDIES = {
    "sqlite3": "make room on the disk of the index, or the right to write there, and give the same command again; a "
    "damaged index is made anew in another folder",
    "psycopg": "look at the server and the rights of its user (CREATE EXTENSION vector is for its owner), and give the "
    "same command again: it goes on",
    "faiss": "delete the .faiss file of the index: it is made anew from the codes, which are kept",
    "distributed": "look at the scheduler and its workers, and give the same command again: it does what is missing",
    "jupyter_client": "python -m pip install ipykernel in the environment of relahash gives the kernel",
}
# Of the system.
SYSTEM_REMEDIES = {
    errno.ENOSPC: "make room, and give the same command again: it does what is missing",
    errno.EDQUOT: "make room within your quota, and give the same command again: it does what is missing",
    errno.EFBIG: "the file is too large for this disk or its limit; choose a folder on another one",
    errno.EROFS: "the disk can only be read; choose a folder on another one",
    errno.EACCES: "you have no right to this; choose another folder, or ask for the right",
    errno.EPERM: "you have no right to this; choose another folder, or ask for the right",
    errno.EMFILE: "too many open files; fewer --jobs or a higher `ulimit -n`",
    errno.ENOMEM: "the memory is full; smaller images, batches or fewer --jobs take less",
}


def explain(error: Exception) -> str | None:
    """An error as a line: whose it is, what it says, and what to do; None where it is likely a fault of our own.

    Example:
        >>> explain(OSError(errno.ENOSPC, "No space left on device", "/full/codes.npz"))
        '/full/codes.npz: No space left on device; make room, and give the same command again: it does what is missing'
        >>> explain(KeyError("bits")) is None
        True
    """
    if isinstance(error, MemoryError):
        return f"{error or 'MemoryError'}; {SYSTEM_REMEDIES[errno.ENOMEM]}"
    library = name_library(error)
    if library is not None:
        said = " ".join(str(error).split()) or type(error).__name__
        return f"{library}: {said[:300]}; {REMEDIES[library]}"
    if not isinstance(error, OSError):
        return None
    said = str(error)
    if error.strerror and error.filename:
        said = f"{error.filename}: {error.strerror}"
    remedy = SYSTEM_REMEDIES.get(error.errno or 0)
    return f"{said}; {remedy}" if remedy else said


def name_library(error: Exception) -> str | None:
    """The library of `REMEDIES` that raised an error: its kind is defined there, or it came up within a call of it."""
    modules = [kind.__module__ for kind in type(error).__mro__]
    modules += modules_after_ours(error.__traceback__)
    for module in modules:
        library = module.partition(".")[0]
        if library in REMEDIES:
            return library
    return None


def modules_after_ours(place: TracebackType | None) -> list[str]:
    """The modules of the calls that lead from our last line to where the error was raised."""
    modules: list[str] = []
    for frame, _ in traceback.walk_tb(place):
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] in OURS:
            modules = []
        else:
            modules.append(module)
    return modules
