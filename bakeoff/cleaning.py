"""The command that frees disk space: `bakeoff clean`, or `python -m search clean`."""

from pathlib import Path
from typing import Annotated

import typer

from bakeoff.options import Root
from bakeoff.simulating import app
from data.base.errors import UserError
from search.base import console


@app.command()
@console.command
def clean(
    delete: Annotated[bool, typer.Option("--delete", help="delete; without this, only list")] = False,
    older_than: Annotated[str, typer.Option(metavar="TIME", help="only what was unused for 12h, 30d, ...")] = "7d",
    keep: Annotated[
        int, typer.Option(min=1, help="keep the checkpoints of this many best trials of each architecture")
    ] = 3,
    searches: Root = Path("searches"),
) -> None:
    """Delete old checkpoints of finished searches, old Ray sessions and the cache. Without --delete, list the sizes."""
    from search.run import clean as cleaning
    from search.spec.spec import parse_seconds

    try:
        seconds = float(parse_seconds(older_than))  # type: ignore[arg-type]  # it returns what it cannot parse unchanged
    except ValueError as error:
        raise UserError(f"--older-than: {error}") from None
    num_bytes = 0
    for waste in cleaning.find(searches, seconds, keep):
        if delete:
            waste.free()
        num_bytes += waste.num_bytes
        print(f"{waste.num_bytes / 1e6:>10,.1f} MB  {waste.what}", flush=True)
    if not num_bytes:
        print(f"nothing has been unused for {older_than}")
    else:
        print(f"{num_bytes / 1e6:>10,.1f} MB  in all: " + ("freed" if delete else "--delete frees them"))
