"""The commands of a search: `python -m search --help`."""

from bakeoff.simulating import app

if __name__ == "__main__":
    app()
