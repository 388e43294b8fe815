"""One line for what the user or the machine got wrong; a bug of ours keeps its traceback."""

import errno
import re
from pathlib import Path
from types import TracebackType

KEPT = "What is finished is kept; the same command resumes"
MEMORY = (
    "lower tokens_per_microbatch (training) or rows (sampling), or use a smaller model. "
    "`xreasoner estimate` says what a recipe needs"
)
_ALLOCATOR = re.compile(r"DefaultCPUAllocator: .*?you tried to allocate (\d+) bytes", re.DOTALL)
LONGEST = 200


def in_one_line(error: BaseException) -> str | None:
    """None for a bug of ours."""
    if isinstance(error, OSError):
        return system_error(error)
    if isinstance(error, MemoryError):
        return f"Out of memory: {MEMORY}. {KEPT}"
    if isinstance(error, RuntimeError):
        return out_of_memory(error)
    if isinstance(error, ValueError) and raised_by_us(error.__traceback__):
        return str(error)
    return None


def system_error(error: OSError) -> str:
    from xreasoner.storage.disk import in_units, room

    name = str(error.filename or "a file or connection")
    name = name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}...{name[-LONGEST // 4 :]}"
    what = (error.strerror or str(error) or type(error).__name__).replace("\n", " ")
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            free = f" ({in_units(room(Path(error.filename)))} free)" if error.filename else ""
            return f"{name}: {what}{free}. Make room. {KEPT}"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"{name}: {what}. Allow this user to use it, or choose another folder with --out. {KEPT}"
        case errno.ENAMETOOLONG:
            return f"{name}: {what}. Choose a shorter name"
        case errno.ENOTDIR | errno.EISDIR | errno.EEXIST:
            return f"{name}: {what}. Choose another name, or move away what is there"
    return f"{name}: {what}. {KEPT}"


def out_of_memory(error: RuntimeError) -> str | None:
    """On a GPU torch has an exception class for it; on a CPU only a message."""
    from xreasoner.storage.disk import in_units

    if type(error).__name__ == "OutOfMemoryError":
        said = str(error).partition(". ")[0].replace("\n", " ")
        return f"{said}: {MEMORY}. {KEPT}"
    if found := _ALLOCATOR.search(str(error)):
        return f"Out of memory: {in_units(int(found[1]))} more were needed; {MEMORY}. {KEPT}"
    return None


def raised_by_us(trace: TracebackType | None) -> bool:
    """Whether the innermost frame is ours: only then was the message written for the user."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("xreasoner.")
