"""How many cores this process may use."""

import math
from pathlib import Path

import joblib


def num_cores(root: Path = Path("/")) -> int:
    """The machine's cores, or fewer if `taskset`, a batch system such as SLURM, or a quota restricts this process.

    Quotas are rounded up (docker's `--cpus 1.5` gives 2); the result is at least 1. root: root of the file system.
    """
    # joblib only reads the quota of the outermost control group, which is that of a container; the quota of a service
    # or of a batch job is set on a nested group.
    return min([int(joblib.cpu_count()), *_quotas(root)])


def _quotas(root: Path) -> list[int]:
    """The quotas, in cores, of this process's control group (version 2) and of all groups that contain it."""
    top = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return []
    quotas = []
    for innermost in (top / line.removeprefix("0::/") for line in lines if line.startswith("0::/")):
        for group in (innermost, *innermost.parents):
            if group.is_relative_to(top) and (group / "cpu.max").is_file():
                quota, period = (group / "cpu.max").read_text().split()
                if quota != "max":
                    quotas.append(max(1, math.ceil(int(quota) / int(period))))
    return quotas
