"""The commands of the analysis: `python -m analysis --help`."""

from bakeoff.watching import app

if __name__ == "__main__":
    app()
