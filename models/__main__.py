"""Compiles the kernels for this machine, unless they exist: `python -m models`."""

import subprocess
import sys

from models.native import kernels

try:
    kernels.build()
except (OSError, subprocess.CalledProcessError) as error:
    lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
    sys.exit(f"no compiled kernels, torch will be used instead: {lines[-1] if lines else error}")
print(kernels.path())
