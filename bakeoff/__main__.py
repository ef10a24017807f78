"""All commands together: `bakeoff --help`, or `python -m bakeoff --help`."""

from bakeoff.calls import application
from bakeoff.cleaning import app as searching
from bakeoff.watching import app as analysing

app = application("Find out which architecture is best for a text-classification task.")
app.add_typer(searching)
app.add_typer(analysing)

if __name__ == "__main__":
    app()
