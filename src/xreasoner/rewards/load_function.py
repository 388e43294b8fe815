"""A user's function by its name, and what it raises in words."""

import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def load_function(name: str) -> Callable[..., Any]:
    """`my_rewards.py:score` or `package.module:score`."""
    place, _, attribute = name.rpartition(":")
    if place.endswith(".py"):
        path = Path(place).resolve()
        if not path.is_file():
            raise ValueError("there is no such file")
        sys.path.insert(0, str(path.parent))  # so that it can import its neighbours
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ValueError(f"{place} has no function {attribute!r}")
    found: Callable[..., Any] = function
    return found


def source_hash(function: Callable[..., Any]) -> str:
    """Of the file that defines it: another one is another function."""
    source = inspect.getsourcefile(function)
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()[:12] if source else ""


def error_in_words(error: BaseException, ours: str) -> str:
    """The error, and the line of the user's code that raised it; `ours` is the file that called it."""
    files = (ours, __file__)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename not in files]
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{place}"


def source_of(what: str, name: str) -> str:
    """The hash of a user's file; a function that cannot be loaded raises a ValueError of one line."""
    try:
        return source_hash(load_function(name))
    except Exception as error:  # importing a user's module may raise anything
        said = str(error) if type(error) is ValueError else error_in_words(error, __file__)
        raise ValueError(f"{what} {name}: {said}") from None
