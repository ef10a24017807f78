"""The distribution of text lengths in words, and where texts are cut."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.plot import Plot, PlotData
from analysis.figures.style import Looks, grid, legend, looks_of

LENGTH, CUT = "length", "max_words"


def data(found: PlotData) -> pd.DataFrame:
    """Rows of kind `length`: the number of texts with at most `words` words, and more than in the previous row. Rows of
    kind `max_words`: the number of texts that are longer."""
    lengths = found.inspection.lengths if found.inspection else None
    rows = [(LENGTH, words, texts) for words, texts in lengths.histogram] if lengths else []
    num_texts = sum(texts for _, _, texts in rows)
    rows += [(CUT, cut.max_words, round(cut.texts * num_texts)) for cut in lengths.cuts] if lengths else []
    return pd.DataFrame(rows, columns=["kind", "words", "texts"])


def draw(frame: pd.DataFrame, looks: Looks) -> Figure:
    figure, panels = grid(1, 1)
    (axes,) = panels.flat
    bars = frame[frame["kind"] == LENGTH]
    bars = bars.iloc[int(np.flatnonzero(bars["texts"])[0]) :]
    right = np.log2(bars["words"])
    cuts = [*frame[(frame["kind"] == CUT) & (frame["texts"] > 0)]["words"]]
    styles = looks_of(["texts", *map(str, cuts)])
    axes.bar(right - 0.5, bars["texts"], width=0.92, color=styles["texts"].colour)
    for cut in cuts:
        axes.axvline(np.log2(cut), c=styles[str(cut)].colour, ls=styles[str(cut)].line)
    ticks = np.arange(int(right.min()) - 1, int(right.max()) + 1)
    axes.set_xticks(ticks, labels=[f"{2.0**tick:,.0f}" if tick >= 0 else "0" for tick in ticks])
    axes.set_xlabel("words of a text, on a log axis")
    axes.set_ylabel("texts")
    keys = [
        Line2D([], [], c=styles[str(cut)].colour, ls=styles[str(cut)].line, label=f"max_words {cut:,}") for cut in cuts
    ]
    if keys:
        legend(figure, keys)
    return figure


PLOT = Plot(
    "text_lengths",
    title="Lengths of the texts",
    caption="Number of texts by number of words. Texts to the right of a line are cut there: architectures with that "
    "max_words do not read their later words. A max_words that cuts no text has no line.",
    nothing="the lengths of the texts were not recorded",
    data=data,
    draw=draw,
    of_texts=True,
)
