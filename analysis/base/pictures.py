"""Figures as files: the picture in one or more formats, with its data as csv."""

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
    """The figure in these formats (svg, png), and its data as csv, by format.

    Dates and versions are left out, so that equal figures give equal files.
    """
    files = {"csv": to_csv(data).encode()}
    dpi = figure.dpi
    for each in formats:
        out = io.BytesIO()
        # Unlike `savefig`, these draw once: `savefig` draws first for the layout, then for the file.
        if each == "svg":
            FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})
        else:
            canvas = FigureCanvasAgg(figure)
            canvas.print_png(out, metadata={"Software": None}, pil_kwargs={"compress_level": 1})
        files[each] = out.getvalue()
        figure.dpi = dpi  # Matplotlib sets 72 for SVG
        figure.set_layout_engine(None)  # keep this layout: computing it takes longer than drawing
    return files


def save(files: Mapping[str, bytes], png: Path) -> list[Path]:
    """Write the files of `encode` to this path and beside it. Raises UserError when one cannot be written."""
    paths = {each: png if each == "png" else png.with_suffix(f".{each}") for each in files}
    for each, content in files.items():
        write(content, paths[each])
    return list(paths.values())
