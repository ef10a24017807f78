"""Checkpoints of one trial: a file an epoch, written so that a crash leaves either the old one or the new one.

A file is what `torch.save` writes of plain tensors, numbers and containers, so that any torch reads it with
`weights_only=True`. torch writes a zip archive, whose checksums tell a torn file from a whole one.
"""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from search.files import write_atomically

FOLDER = "checkpoints"  # in a search's

#: The last one, and the one before it in case the last is damaged. The best epoch's weights are inside each.
NUM_KEPT = 2


def folder_of(search: Path, trial: str) -> Path:
    """Where a trial of the search in this folder keeps its files."""
    return search / FOLDER / trial


def save(folder: Path, epoch: int, content: dict[str, Any]) -> Path:
    """Write the checkpoint of an epoch, then remove those that are no longer needed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"epoch-{epoch:04d}.pt"
    write_atomically(path, lambda file: torch.save(content, file))
    saved = sorted(folder.glob("epoch-*.pt"))
    earlier, later = [p for p in saved if p <= path], [p for p in saved if p > path]  # later ones are damaged
    for old in earlier[:-NUM_KEPT] + later:
        old.unlink(missing_ok=True)
    return path


def save_text(folder: Path, name: str, text: str) -> None:
    """Write a text beside a trial's checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / name, lambda file: file.write(text.encode()))


def load_text(folder: Path, name: str) -> str | None:
    """A text beside a trial's checkpoints, or None."""
    path = folder / name
    return path.read_text(encoding="utf-8") if path.is_file() else None


def remove_unfinished(folder: Path) -> None:
    """Remove what workers left that were killed while they wrote; call before a worker starts to write."""
    for partial in folder.glob(".epoch-*"):
        partial.unlink(missing_ok=True)


def load_last(folder: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint in a trial's folder, on the CPU, or None."""
    for path in sorted(folder.glob("epoch-*.pt"), reverse=True):
        try:
            if _is_whole(path):
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # a changed byte can raise nearly anything, and the answer is the same: the one before it
            continue
    return None


def last_epoch(folder: Path) -> int:
    """The epoch of the newest whole checkpoint in a trial's folder, or 0."""
    whole = (path for path in sorted(folder.glob("epoch-*.pt"), reverse=True) if _is_whole(path))
    return next((int(path.stem.removeprefix("epoch-")) for path in whole), 0)


def remove(folder: Path) -> None:
    """Remove a trial's checkpoints."""
    shutil.rmtree(folder, ignore_errors=True)


def _is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # a changed byte in a zip's headers can raise nearly anything, and the answer is the same
        return False
