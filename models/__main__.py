"""Compiles the kernels for this machine, unless they exist: `python -m models`."""

import subprocess
import sys

from models.native import kernels

try:
    kernels.build()
except (OSError, subprocess.CalledProcessError) as error:
    said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
    sys.exit(f"no compiled kernels, torch will do their work: {said[-1] if said else error}")
print(kernels.path())
