"""The command that frees room on the disk: `bakeoff clean`, or `python -m search clean`."""

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
    delete: Annotated[bool, typer.Option("--delete", help="free it; without this nothing is changed")] = False,
    older_than: Annotated[str, typer.Option(metavar="TIME", help="what was not used for 12h, 30d, ...")] = "7d",
    keep: Annotated[
        int, typer.Option(min=1, help="of how many best trials of each architecture checkpoints are kept")
    ] = 3,
    searches: Root = Path("searches"),
) -> None:
    """Free old checkpoints of searches that have ended, Ray's old sessions and the cache; first only says how much."""
    from search.run import clean as cleaning
    from search.spec.spec import parse_seconds

    try:
        seconds = float(parse_seconds(older_than))  # type: ignore[arg-type]  # what is no time is returned as it is
    except ValueError as error:
        raise UserError(f"--older-than: {error}") from None
    num_bytes = 0
    for waste in cleaning.find(searches, seconds, keep):
        if delete:
            waste.free()
        num_bytes += waste.num_bytes
        print(f"{waste.num_bytes / 1e6:>10,.1f} MB  {waste.what}", flush=True)
    if not num_bytes:
        print(f"nothing that was not used for {older_than}")
    else:
        print(f"{num_bytes / 1e6:>10,.1f} MB  in all: " + ("freed" if delete else "--delete frees them"))
