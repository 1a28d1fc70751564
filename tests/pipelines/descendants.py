"""The processes that this one has started, and theirs."""

import os
import pathlib


def descendants(name):
    """The numbers of those with a name in their command line."""
    parents, named = {}, []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if name.encode() in (folder / "cmdline").read_bytes():
                named.append(int(folder.name))
        except OSError:
            continue  # it has just ended

    def is_ours(number):
        while number in parents and number != os.getpid():
            number = parents[number]
        return number == os.getpid()

    return [number for number in named if is_ours(number)]
