"""Provenance of results, as tags: data, code, library versions, processor."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

import torch

from data.encoded import EncodedCorpus
from models.native import kernels
from search.base import schema

LIBRARIES = ("torch", "ray", "optuna", "mlflow", "torchtext", "numpy", "pandas")


def git_commit() -> str | None:
    """The commit of this checkout, with the suffix '-dirty' if it has changes; None outside a repository."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that results depend on, by name."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES} | {"python": platform.python_version()}


def cpu_model() -> str:
    """The name of this machine's processor; results are reproducible on the same processor only."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def of_search(corpus: EncodedCorpus) -> dict[str, str]:
    """Tags for the data and the code of a search, which are the same on every machine."""
    commit = git_commit()
    return {schema.DATA_DIGEST: corpus.digest, **({schema.GIT_COMMIT: commit} if commit else {})}


def of_worker(device: torch.device) -> dict[str, str]:
    """Tags for the hardware and libraries of this process. device: on which it trains networks."""
    return {
        schema.CPU: cpu_model(),
        schema.KERNELS: kernels.name(),
        schema.DEVICE: torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        **{schema.VERSION_PREFIX + name: version for name, version in versions().items()},
    }
