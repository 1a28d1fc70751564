"""The peers of the tables benchmark: what each of their virtual environments holds, and how it is made."""

import subprocess
import sys
from pathlib import Path

# PyTorch is pinned for both peers that use it. Where an index has a CPU wheel of that version (2.13.0+cpu), pip
# prefers it; the plain one brings several GB of CUDA packages, which are not used. pandas is the newest that sdv takes.
REQUIREMENTS = {
    "sdv": ("sdv==2.0.0", "ctgan==0.12.1", "copulas==0.14.1", "rdt==2.0.0", "torch==2.13.0", "pandas==2.3.3"),
    "mostlyai": ("mostlyai-engine==2.7.3", "torch==2.13.0", "pandas==3.1.1"),
    "resampling": ("imbalanced-learn==0.14.2", "scikit-learn==1.9.1", "pandas==2.3.3"),
}

# These wheels are built for the CUDA build of PyTorch and cannot be imported beside the CPU one, which breaks
# transformers; without them it does without them, and tables do not need them.
REMOVED = {"mostlyai": ("torchvision", "torchaudio")}


def make(name: str, folder: Path) -> Path:
    """The interpreter of an environment in ``folder``; made unless it is there with these very requirements.

    Raises
    ------
    RuntimeError
        If pip fails; the message has the end of its output.
    """
    home = folder / name
    python, ready = home / "bin" / "python", home / "requirements.txt"
    wanted = "\n".join(REQUIREMENTS[name]) + "\n"
    if ready.exists() and ready.read_text() == wanted:
        return python
    print(f"making the environment {home}", file=sys.stderr, flush=True)
    commands = [
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS[name]],
    ]
    if name in REMOVED:
        commands.append([str(python), "-m", "pip", "uninstall", "--quiet", "--yes", *REMOVED[name]])
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr.strip()[-2000:]}")
    ready.write_text(wanted)  # last, so that an interrupted installation is not taken for a whole one
    return python
