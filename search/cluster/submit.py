"""Starts a search on a cluster from another machine: the code and the spec travel, nothing else."""

import asyncio
import os
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from data.base.errors import UserError, in_short
from search.spec import read, spec

PACKAGES = ("search", "models", "data", "analysis", "bakeoff")
MAX_BYTES = 20e6  # of what travels; this code is far below it
WORKING_DIR = "working_dir"
SPEC = "submitted.yaml"
TOKEN = Path("~/.ray/auth_token")  # of the cluster


def pack(spec: spec.Spec, folder: Path) -> int:
    """Copy this code and the spec into a folder; the number of bytes. Raises UserError when that is too many.

    Only the packages' own files are taken: no data, no caches, no `.git`, no environment, whatever lies beside them.
    """
    root = Path(__file__).parents[2]
    unwanted = shutil.ignore_patterns("__pycache__", ".*", "*.so", "*.db", "*.npz")
    for package in PACKAGES:
        shutil.copytree(root / package, folder / package, ignore=unwanted)
    (folder / SPEC).write_text(read.dump(spec), encoding="utf-8")
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    total = sum(sizes.values())
    if total > MAX_BYTES:
        largest = max(sizes, key=sizes.__getitem__).relative_to(folder)
        raise UserError(
            f"{total / 1e6:.0f} MB would travel to the cluster, {MAX_BYTES / 1e6:.0f} MB are allowed; the largest "
            f"file, {largest}, is no code: move it"
        )
    return total


def submit(spec: spec.Spec, address: str, searches: str, wait: bool, options: Sequence[str] = ()) -> int:
    """Submit a search of this spec to the dashboard at `address`; the exit status of its driver, or 0 without waiting.

    searches: the folder on the head that keeps the search. Raises UserError when no cluster answers.
    """
    if TOKEN.expanduser().is_file():  # a cluster of cluster.yaml asks for it; Ray's client shows it only if told to
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobStatus, JobSubmissionClient

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / WORKING_DIR
        folder.mkdir()
        size = pack(spec, folder)
        command = ["python", "-m", "search", "run", SPEC, "--address", "auto", *options]
        # The shell of the head expands ~.
        entrypoint = f"{shlex.join(command)} --searches {searches}"
        try:
            client = JobSubmissionClient(address)
            job = client.submit_job(entrypoint=entrypoint, runtime_env={WORKING_DIR: str(folder)})
        except ConnectionError as error:
            raise UserError(
                f"no dashboard answers at {address}: {_line(error)}; `ray dashboard cluster.yaml` opens the way to it"
            ) from None
        except AuthenticationError:
            raise UserError(f"{address} asks for the cluster's token; copy it from the head into {TOKEN}") from None
        except RuntimeError as error:
            raise UserError(f"{address} refuses the job: {_line(error)}") from None
    shown = f"RAY_AUTH_MODE={os.environ['RAY_AUTH_MODE']} ray job" if "RAY_AUTH_MODE" in os.environ else "ray job"
    print(f"Submitted {job} ({size / 1e3:.0f} kB of code and spec)")
    print(f"Follow    {shown} logs --address {address} --follow {job}")
    print(f"Stop      {shown} stop --address {address} {job}", flush=True)
    if not wait:
        return 0

    async def follow() -> None:
        async for text in client.tail_job_logs(job):
            print(text, end="", flush=True)

    asyncio.run(follow())
    return 0 if client.get_job_status(job) == JobStatus.SUCCEEDED else 1


def _line(error: Exception) -> str:
    return in_short(str(error))
