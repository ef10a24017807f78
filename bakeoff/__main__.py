"""All commands in one: `bakeoff --help`, or `python -m bakeoff --help`."""

import typer

from bakeoff.cleaning import app as searching
from bakeoff.watching import app as analysing

app = typer.Typer(
    help="Find out which architecture is best for a text-classification task.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(searching)
app.add_typer(analysing)

if __name__ == "__main__":
    app()
