"""The commands of a search: `python -m search --help`."""

from bakeoff.cleaning import app

if __name__ == "__main__":
    app()
