"""A figure in files: the picture in one format or more, and its data as csv beside it."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from analysis.base.formats import to_csv
from analysis.base.tables import write

FORMATS = ("png", "svg", "csv")


def encode(figure: Figure, data: pd.DataFrame, formats: Sequence[str] = ("png",)) -> dict[str, bytes]:
    """The figure in each of these formats (svg, png), and its data as csv.

    Without dates and versions in them, equal figures are equal files.
    """
    files = {"csv": to_csv(data).encode()}
    dpi = figure.dpi
    for each in formats:
        out = io.BytesIO()
        # Not `savefig`, which draws twice: once to lay it out, and again.
        if each == "svg":
            FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})
        else:
            FigureCanvasAgg(figure).print_png(out, metadata={"Software": None})
        files[each] = out.getvalue()
        figure.dpi = dpi  # of an SVG Matplotlib makes 72
        figure.set_layout_engine(None)  # it is laid out, which takes longer than to draw it
    return files


def save(files: Mapping[str, bytes], png: Path) -> list[Path]:
    """Write what `encode` made into this PNG and beside it. Raises UserError when it cannot be written."""
    paths = {each: png if each == "png" else png.with_suffix(f".{each}") for each in files}
    for each, content in files.items():
        write(content, paths[each])
    return list(paths.values())
