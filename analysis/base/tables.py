"""Tables on their way out: to a terminal, a pipe or a file, in the format asked for."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from analysis.base.formats import to_csv, to_json, to_latex, to_markdown
from analysis.base.table import Table
from analysis.base.terminal import show, to_text
from data.base.errors import UserError, choose
from data.base.files import write_whole

#: How a table is written to a file or a pipe.
TEXTS: dict[str, Callable[[Table], str]] = {
    "table": to_text,
    "csv": lambda table: to_csv(table.frame),
    "json": lambda table: to_json(table.frame),
    "markdown": to_markdown,
    "latex": to_latex,
}

#: The formats that programs read: one tidy frame instead of tables laid out for a reader.
FOR_PROGRAMS = ("csv", "json")

ENDINGS = {".csv": "csv", ".json": "json", ".md": "markdown", ".tex": "latex"}


def choose_format(given: str | None, out: Path | None) -> str:
    """The format asked for, else that of the file's ending, else `table`.

    Raises UserError, before any work is done, for an unknown one or a file that has no folder.
    """
    if out is not None:
        _check_folder(out)
    if given is not None:
        return choose("format", given, TEXTS)
    return ENDINGS.get(out.suffix.lower(), "table") if out else "table"


def emit(tables: Sequence[Table], form: str, out: Path | None = None) -> None:
    """Print the tables, or write them into a file and say so. Raises UserError when it cannot be written."""
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
    """Write a whole file or none of it. Raises UserError when the folder or the file cannot be written."""
    _check_folder(path)
    try:
        with write_whole(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they aren't there yet. Raises UserError when that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path}: {error.strerror}") from error


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder")
