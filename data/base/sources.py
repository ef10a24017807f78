"""Files of corpora and vectors: given by the user, installed with a package, or downloaded."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from data.base.errors import UserError, did_you_mean

NOT_INSTALLED = "the package {} is not installed; run: pip install -r requirements.txt"


def existing_file(path: str | Path) -> Path:
    """The path with `~` expanded. Raises UserError, with the most similar file name, if it is not a file."""
    path = Path(os.path.expanduser(path))
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder, not a file")
    if not os.path.isfile(path):
        try:
            neighbours = os.listdir(path.parent)
        except OSError:
            neighbours = []
        raise UserError(f"no file {path}{did_you_mean(path.name, neighbours, else_all=False)}")
    return path


def existing(path: str | Path) -> Path:
    """Like `existing_file`, for a file or a folder."""
    folder = Path(os.path.expanduser(path))
    return folder if os.path.isdir(folder) else existing_file(path)


def installed_file(package: str, *parts: str) -> Path:
    """A data file inside an installed package. Raises UserError if the package is not installed."""
    from importlib.resources import files

    try:
        return existing_file(str(files(package).joinpath(*parts)))
    except ModuleNotFoundError:
        raise UserError(NOT_INSTALLED.format(package)) from None


def installed_version(package: str) -> str:
    """The version of an installed package. Raises UserError if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        raise UserError(NOT_INSTALLED.format(package)) from None


def sha256(path: Path) -> str:
    """The SHA-256 of the file's content, in hex. Raises UserError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def download(url: str, known_sha256: str, folder: Path, *, progress: bool) -> Path:
    """Downloads a file into the folder, unless it is there already with the right SHA-256.

    A download gets its final name only once it is complete and verified. Raises UserError if it fails.
    """
    import pooch

    path = folder / url.rsplit("/", 1)[-1]
    bar = progress and sys.stderr.isatty()
    try:
        pooch.retrieve(
            url,
            known_hash=f"sha256:{known_sha256}",
            path=folder,
            fname=path.name,
            # pooch's default chunks of 1 KiB, each flushed, are slow for the 862 MB of GloVe
            downloader=pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 18, timeout=60),
        )
    except (OSError, ValueError) as error:  # requests' errors are OSErrors, a wrong hash is a ValueError
        raise UserError(
            f"cannot download {url}: {_in_short(error)}; try again, or put that file at {path} yourself"
        ) from error
    return path


def _in_short(error: Exception) -> str:
    if isinstance(error, ValueError) and "hash" in str(error):
        return "the file that arrived does not have the expected SHA-256"
    from requests import exceptions

    if isinstance(error, exceptions.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, exceptions.Timeout):
        return "the server did not answer in time"
    if isinstance(error, exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, exceptions.ConnectionError):
        return "the server cannot be reached"
    return " ".join(str(error).split())
