"""What must stand before TensorFlow is imported, and the settings of hypothesis."""

import atexit
import functools
import gc
import os
import pathlib
import sys
import tempfile
import typing

from hypothesis import settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_USE_LEGACY_KERAS"] = "1"
# What XLA has compiled once, no other test and none of its processes compiles again. pytest-xdist's processes get the
# variable from the one that starts them.
if "TF_XLA_FLAGS" not in os.environ:
    _COMPILED = tempfile.TemporaryDirectory(prefix="augment-compiled-")
    os.environ["TF_XLA_FLAGS"] = f"--tf_xla_persistent_cache_directory={_COMPILED.name}"
# As many processes as cores run tests: threads of theirs that wait for each other would only be in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The key that seals models lies here, and not in a person's home; the processes of pytest-xdist have it in common.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _STATE = tempfile.TemporaryDirectory(prefix="augment-state-")
    os.environ["XDG_STATE_HOME"] = _STATE.name

# pytest's default import mode puts this folder first on the path, where its folders tfp_realnvp and pipelines would
# hide the packages of those names.
_HERE = pathlib.Path(__file__).parent.resolve()
sys.path[:] = [entry for entry in sys.path if not entry or pathlib.Path(entry).resolve() != _HERE]

# Graphs are many objects, in which Python looks for garbage all the time, and once more in all before it ends.
gc.set_threshold(100_000, 20, 100)
atexit.register(gc.freeze)
# TensorFlow asks of each operand whether it fulfils a protocol, which Python looks into anew each time before 3.12.
if sys.version_info < (3, 12):
    typing._get_protocol_attrs = functools.cache(typing._get_protocol_attrs)

# No deadline: the first example traces and compiles. Derandomized: a red run can be repeated.
settings.register_profile("project", deadline=None, max_examples=10, derandomize=True)
settings.load_profile("project")
