"""How many cores this process may use."""

import math
from pathlib import Path

import joblib


def num_cores(root: Path = Path("/")) -> int:
    """The machine's cores, or fewer where this process has fewer: `taskset`, a batch system such as SLURM, a quota.

    A quota counts up to whole cores (docker's `--cpus 1.5` is 2), and there is always one. root: of the file system.
    """
    # joblib looks at the quota of the outermost control group only, which is a container's own; a service or a batch
    # job has one further down.
    return min([int(joblib.cpu_count()), *_quotas(root)])


def _quotas(root: Path) -> list[int]:
    """Cores of each quota on the way from this process's control group (version 2) to the outermost one."""
    top = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return []
    quotas = []
    for own in (top / line.removeprefix("0::/") for line in lines if line.startswith("0::/")):
        for group in (own, *own.parents):
            if group.is_relative_to(top) and (group / "cpu.max").is_file():
                quota, period = (group / "cpu.max").read_text().split()
                if quota != "max":
                    quotas.append(max(1, math.ceil(int(quota) / int(period))))
    return quotas
