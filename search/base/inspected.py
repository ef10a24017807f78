"""What was found out about the texts, for people: all of it, or the two or three lines that a search begins with."""

import textwrap
from collections.abc import Iterator

from rich.cells import cell_len, set_cell_size

from data.inspecting.findings import Finding, Inspection, counted, shortened

FILE = "data.txt"  # as people read it, with the run of a search
RECORD = "data.json"  # as programs do
MOST_CLASSES = 20  # in a table
MOST_SERIOUS = 3  # in the short form
SPLITS = ("train", "val", "test")
FINE = "Nothing to worry about."


def lines(inspection: Inspection, width: int | None = None) -> Iterator[str]:
    """All of it. width: of a terminal, in which long lines go on below."""
    for line, indented in _lines(inspection):
        if width and line and cell_len(line) > width > 2 * indented:
            more = " " * indented
            yield from textwrap.wrap(line, width, subsequent_indent=more, break_on_hyphens=False, drop_whitespace=True)
        else:
            yield line


def _lines(inspection: Inspection) -> Iterator[tuple[str, int]]:
    """Each line, and where what goes on below it begins."""
    sizes = ", ".join(f"{inspection.count(split):,} {split}" for split in splits(inspection))
    classes = counted(len(inspection.classes), "class", "classes")
    yield f"{inspection.name}: {counted(inspection.num_texts, 'text')} of {classes} ({sizes})", 0
    told = facts(inspection)
    column = max(map(len, told)) + 2
    for name, value in told.items():
        yield f"{name:<{column}}{value}", column
    yield "", 0
    for line in _table(inspection):
        yield line, 0
    yield "", 0
    for finding in inspection.findings:
        yield f"{finding.severity:<8}  {said(finding)}", 10
        if finding.remedy:
            yield f"{'':<8}  -> {finding.remedy}", 13
    if not inspection.findings:
        yield FINE, 0


def how_read(inspection: Inspection) -> str:
    """What a search says of a file that it has read, in a line; '' of what is none."""
    told = inspection.understood
    named = [f"{name}: {told[name]}" for name in ("file", "texts", "labels", "splits", "positive") if name in told]
    return "; ".join(named) if "file" in told else ""


def short(inspection: Inspection, command: str) -> Iterator[str]:
    """What a search shows when it begins: what is serious, and where the rest is. command: shows all."""
    serious = [finding for finding in inspection.findings if finding.severity != "minor"]
    for finding in serious[:MOST_SERIOUS]:
        yield f"{finding.what}." + (f" To do: {finding.remedy}." if finding.remedy else "")
    if left := len(inspection.findings) - len(serious[:MOST_SERIOUS]):
        kinds = ", ".join(dict.fromkeys(finding.kind for finding in inspection.findings[-left:]))
        yield f"{'More' if serious else 'Something'} to know about the texts ({kinds}): {command}"


def said(finding: Finding) -> str:
    """What was found, with the example: a line without its end."""
    return finding.what + (f" ({finding.example})" if finding.example else "")


def splits(inspection: Inspection) -> list[str]:
    """Those that have texts, in order."""
    return [split for split in SPLITS if inspection.count(split)]


def facts(inspection: Inspection) -> dict[str, str]:
    """How the texts were read, how long they are, how much of them is read and known: each in a line."""
    found = dict(inspection.understood)
    largest = inspection.majority
    found["majority"] = f"{inspection.majority_share:.1%} of the texts are {shortened(largest.name, 40)}"
    if lengths := inspection.lengths:
        found["length"] = (
            f"median {lengths.median:,} words, 95% of the texts at most {lengths.most:,}, longest {lengths.longest:,}"
        )
        for cut in lengths.cuts:
            is_cut = f"{cut.texts:.1%} of the texts and {cut.words:.1%} of the words are cut"
            found[f"max_words {cut.max_words}"] = is_cut if cut.texts else "no text is cut"
    if unknown := inspection.unknown:
        most = ", ".join(f"{word!r} {count:,}" for word, count in unknown.words[:8])
        found["unknown"] = f"{unknown.share:.1%} of the words read" + (f", most often {most}" if most else "")
    if inspection.num_looked_at < inspection.num_texts:
        found["looked at"] = f"the words of {inspection.num_looked_at:,} of the texts, drawn by chance"
    return found


def _table(inspection: Inspection) -> Iterator[str]:
    """The classes, the largest first where they are too many to show."""
    classes = list(inspection.classes)
    if len(classes) > MOST_CLASSES:
        classes = sorted(classes, key=lambda each: -each.total)[:MOST_CLASSES]
    names = [shortened(each.name, 40) for each in classes]
    width = max(map(cell_len, ["class", *names]))
    total = max(1, inspection.num_texts)
    parts = splits(inspection)
    yield "  ".join([set_cell_size("class", width), *(f"{split:>9}" for split in parts), f"{'all':>9}", " share"])
    for name, each in zip(names, classes, strict=True):
        counts = [*(each.splits.get(split, 0) for split in parts), each.total]
        yield "  ".join(
            [set_cell_size(name, width), *(f"{count:>9,}" for count in counts), f"{each.total / total:>6.1%}"]
        )
    if left := len(inspection.classes) - len(classes):
        yield f"and {left:,} smaller classes"
