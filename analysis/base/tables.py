"""Output of tables to a terminal, a pipe or a file, in any format."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from analysis.base.formats import to_csv, to_json, to_latex, to_markdown
from analysis.base.table import Table
from analysis.base.terminal import show, to_text
from data.base.errors import UserError, choose
from data.base.files import write_whole

#: The text formats for files and pipes.
TEXTS: dict[str, Callable[[Table], str]] = {
    "table": to_text,
    "csv": lambda table: to_csv(table.frame),
    "json": lambda table: to_json(table.frame),
    "markdown": to_markdown,
    "latex": to_latex,
}

#: The formats for programs: one tidy frame instead of tables laid out for a reader.
FOR_PROGRAMS = ("csv", "json")

ENDINGS = {".csv": "csv", ".json": "json", ".md": "markdown", ".tex": "latex"}

#: File endings of pictures, to which no table is written.
PICTURES = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".gif", ".webp")


def choose_format(given: str | None, out: Path | None) -> str:
    """The given format, else the one of the file's ending, else `table`.

    Raises UserError for an unknown format, a file whose folder does not exist, or the ending of a picture. Commands
    call it before they do any work.
    """
    if out is not None:
        _check_folder(out)
        if out.suffix.lower() in PICTURES:
            raise UserError(
                f"--out {out}: a table is text, {out.suffix} is a picture; nearest: {out.with_suffix('.csv')}"
            )
    if given is not None:
        return choose("format", given, TEXTS)
    return ENDINGS.get(out.suffix.lower(), "table") if out else "table"


def require_png(path: Path | None) -> None:
    """Raise UserError unless a picture can be written to this path. Commands call it before they do any work."""
    if path is None:
        return
    _check_folder(path)
    if path.suffix.lower() != ".png":
        raise UserError(f"{path}: a picture's file ends in .png; nearest: {path.with_suffix('.png')}")


def emit(tables: Sequence[Table], form: str, out: Path | None = None) -> None:
    """Print tables, or write them to a file and print its path. Raises UserError when it cannot be written."""
    console = Console(highlight=False)
    if form == "table" and out is None and console.is_terminal:
        for number, table in enumerate(tables):
            if number:
                console.print()
            show(table, console)
        return
    text = "\n".join(TEXTS[form](table) for table in tables)
    if out is None:
        sys.stdout.write(text)
        return
    write(text, out)
    print(f"wrote {', '.join(f'{len(table.frame)} rows' for table in tables)} to {out.absolute()}")


def write(content: str | bytes, path: Path) -> None:
    """Write a file atomically. Raises UserError when the folder or the file cannot be written."""
    _check_folder(path)
    try:
        with write_whole(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def make_folder(path: Path) -> None:
    """Make a folder and its parents unless they exist. Raises UserError when that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path}: {error.strerror}") from error


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder")
