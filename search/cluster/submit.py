"""Submits a search to a cluster from another machine. Only the code and the spec are sent."""

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
MAX_BYTES = 20e6  # upper bound of the upload; this project is far below it
WORKING_DIR = "working_dir"
SPEC = "submitted.yaml"
TOKEN = Path("~/.ray/auth_token")  # the cluster's token


def pack(spec: spec.Spec, folder: Path) -> int:
    """Copies the code and the spec into a folder. Returns the number of bytes; raises UserError if that is too many.

    Only files of the packages are copied: no data, caches, `.git` or environments next to them.
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
            f"the upload would be {total / 1e6:.0f} MB, at most {MAX_BYTES / 1e6:.0f} MB are allowed; the largest "
            f"file, {largest}, is not code: move it elsewhere"
        )
    return total


def submit(spec: spec.Spec, address: str, searches: str, wait: bool, options: Sequence[str] = ()) -> int:
    """Submits a search of this spec to the dashboard at `address`. Returns the exit status of its driver, or 0 without
    waiting.

    searches: the folder on the head node for the search. Raises UserError if no cluster responds.
    """
    if TOKEN.expanduser().is_file():  # clusters of cluster.yaml require it; Ray's client sends it only in this mode
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobStatus, JobSubmissionClient

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / WORKING_DIR
        folder.mkdir()
        size = pack(spec, folder)
        command = ["python", "-m", "search", "run", SPEC, "--address", "auto", *options]
        # The shell on the head node expands ~.
        entrypoint = f"{shlex.join(command)} --searches {searches}"
        try:
            client = JobSubmissionClient(address)
            job = client.submit_job(entrypoint=entrypoint, runtime_env={WORKING_DIR: str(folder)})
        except ConnectionError as error:
            raise UserError(
                f"no dashboard answers at {address}: {_line(error)}; `ray dashboard cluster.yaml` opens a tunnel to it"
            ) from None
        except AuthenticationError:
            raise UserError(f"{address} requires the cluster's token; copy it from the head to {TOKEN}") from None
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
