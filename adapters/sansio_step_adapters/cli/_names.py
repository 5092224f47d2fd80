"""The files that a command line names: by themselves, by folders, by globs that the shell did not expand."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .._captured import is_beside

__all__ = ["Named", "find_files"]


class Named(NamedTuple):
    """A file to read, or a name by which there is none.

    `found` says that it was found in a folder, where other files may lie beside captures; `problem` that there is
    nothing to read, and why.
    """

    name: str
    found: bool = False
    problem: str | None = None


def find_files(names: Iterable[str]) -> list[Named]:
    """All files in the order of the names, each folder's by name; `-` is standard input.

    Folders are read with those in them, but for what is hidden, for other than regular files (to open a pipe is to wait)
    and for links to folders, which can lead back. A recording's times are left out if its body is there.
    """
    found = [each for name in names for each in _find(name)]
    bodies = {each.name for each in found}
    return [each for each in found if not is_beside(each.name, bodies)]


def _find(name: str) -> Iterator[Named]:
    if name == "-":
        yield Named(name)
    elif os.path.isdir(name):  # noqa: PTH112, Path's raises for a name too long or a folder that is closed
        yield from _in_folder(name)
    elif glob.has_magic(name) and not os.path.exists(name):  # noqa: PTH110, the same
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207, Path's knows no absolute pattern
        if not matches:
            yield Named(name, problem="no file matches")
        for match in matches:
            yield from _in_folder(match) if os.path.isdir(match) else [Named(match)]  # noqa: PTH112, the same
    else:
        yield Named(name)


def _in_folder(folder: str) -> Iterator[Named]:
    empty = True
    unreadable: list[OSError] = []
    for path, folders, files in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.startswith("."):
                continue
            file = Path(path, name)
            try:
                is_file = file.is_file()
            except OSError as closed:  # its folder can be listed, and not entered
                unreadable.append(closed)
                continue
            if is_file:
                empty = False
                yield Named(str(file), found=True)
    for error in unreadable:
        yield Named(str(error.filename), problem=error.strerror or str(error))
    if empty and not unreadable:
        yield Named(folder, problem="no file is in this folder")
