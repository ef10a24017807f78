"""The command that inspects texts before training: `bakeoff data`, or `python -m search data`."""

import shutil
import sys
from typing import Annotated

import typer

from bakeoff.options import Label, Set, Text, columns
from bakeoff.searching import app
from search.base import console


@app.command()
@console.command
def data(
    texts: Annotated[
        str, typer.Argument(metavar="FILE", help="a file of texts and labels, the name of a corpus, or a spec")
    ],
    set_: Set = None,
    text: Text = None,
    label: Label = None,
) -> None:
    """Inspect texts before training: file format, classes, lengths, and problems with their remedies."""
    from search.base import inspected
    from search.spec import read as specs
    from search.spec.asked import spec_for

    inspection = specs.inspect(spec_for(texts, set_ or [], keys=columns(text, label)), progress=True)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in inspected.lines(inspection, width):
        print(line)
