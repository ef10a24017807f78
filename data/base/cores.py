"""How many cores this process may use."""

import joblib


def num_cores() -> int:
    """The machine's cores, or fewer where this process has fewer: `taskset`, a batch system such as SLURM, a quota.

    A container's quota counts up to whole cores (docker's `--cpus 1.5` is 2), and there is always one.
    """
    return int(joblib.cpu_count())
