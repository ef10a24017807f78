"""The commands of the analysis: `python -m analysis --help`."""

from bakeoff.explaining import app

if __name__ == "__main__":
    app()
