"""How a section of the speed benchmark is to be measured."""

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What `speed.py run` was asked for.

    Attributes
    ----------
    rounds : int
        How often each side has its turn.
    seconds : float
        Length of a round, where it can be chosen.
    is_small : bool
        Whether sizes are small, only to see that everything works.
    peers_python : Path or None
        Interpreter that has the peers' libraries.
    data : Path or None
        Folder of tables.
    """

    rounds: int
    seconds: float
    is_small: bool
    peers_python: Path | None
    data: Path | None

    @property
    def python(self) -> Path:
        """The interpreter that runs the benchmark."""
        return Path(sys.executable)

    @property
    def augment(self) -> Path:
        """The command beside this interpreter."""
        return self.python.with_name("augment")

    @property
    def needed_peers_python(self) -> Path:
        """`peers_python`.

        Raises
        ------
        ValueError
            If it was not given.
        """
        if self.peers_python is None:
            raise ValueError("this section needs --peers-python, an interpreter with the peers' libraries")
        return self.peers_python
