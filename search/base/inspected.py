"""An inspection of the texts as text for people: in full, or the few lines that a search prints at its start."""

import textwrap
from collections.abc import Iterator

from rich.cells import cell_len, set_cell_size

from data.inspecting.findings import Finding, Inspection, counted, shortened

FILE = "data.txt"  # artifact of a search's run, for people
RECORD = "data.json"  # the same for programs
MOST_CLASSES = 20  # rows of the table
MOST_SERIOUS = 3  # findings in the short form
SPLITS = ("train", "val", "test")
FINE = "Nothing to worry about."


def lines(inspection: Inspection, width: int | None = None) -> Iterator[str]:
    """The whole inspection. width: of a terminal, at which long lines are wrapped; None does not wrap."""
    for line, indented in _lines(inspection):
        if width and line and cell_len(line) > width > 2 * indented:
            indent = " " * indented
            yield from textwrap.wrap(
                line, width, subsequent_indent=indent, break_on_hyphens=False, drop_whitespace=True
            )
        else:
            yield line


def _lines(inspection: Inspection) -> Iterator[tuple[str, int]]:
    """Lines, with the indentation of their continuation lines."""
    sizes = ", ".join(f"{inspection.count(split):,} {split}" for split in splits(inspection))
    classes = counted(len(inspection.classes), "class", "classes")
    yield f"{inspection.name}: {counted(inspection.num_texts, 'text')} of {classes} ({sizes})", 0
    known = facts(inspection)
    column = max(map(len, known)) + 2
    for name, value in known.items():
        yield f"{name:<{column}}{value}", column
    yield "", 0
    for line in _table(inspection):
        yield line, 0
    yield "", 0
    for finding in inspection.findings:
        yield f"{finding.severity:<8}  {described(finding)}", 10
        if finding.remedy:
            yield f"{'':<8}  -> {finding.remedy}", 13
    if not inspection.findings:
        yield FINE, 0


def how_read(inspection: Inspection) -> str:
    """How a file was read, in one line; '' if the corpus is not a file."""
    facts = inspection.understood
    named = [f"{name}: {facts[name]}" for name in ("file", "texts", "labels", "splits", "positive") if name in facts]
    return "; ".join(named) if "file" in facts else ""


def short(inspection: Inspection, command: str) -> Iterator[str]:
    """The lines that a search prints at its start: serious findings, and the command that shows the rest."""
    serious = [finding for finding in inspection.findings if finding.severity != "minor"]
    for finding in serious[:MOST_SERIOUS]:
        yield f"{finding.what}." + (f" To do: {finding.remedy}." if finding.remedy else "")
    if left := len(inspection.findings) - len(serious[:MOST_SERIOUS]):
        kinds = ", ".join(dict.fromkeys(finding.kind for finding in inspection.findings[-left:]))
        yield f"{'More findings' if serious else 'Findings'} about the texts ({kinds}): {command}"


def described(finding: Finding) -> str:
    """A finding with its example, without a full stop."""
    return finding.what + (f" ({finding.example})" if finding.example else "")


def splits(inspection: Inspection) -> list[str]:
    """The splits that have texts, in order."""
    return [split for split in SPLITS if inspection.count(split)]


def facts(inspection: Inspection) -> dict[str, str]:
    """Facts by name, one line each: how texts were read, their lengths, and the shares truncated or unknown."""
    lines_by_name = dict(inspection.understood)
    largest = inspection.majority
    lines_by_name["majority"] = f"{inspection.majority_share:.1%} of the texts are {shortened(largest.name, 40)}"
    if lengths := inspection.lengths:
        lines_by_name["length"] = (
            f"median {lengths.median:,} words, 95% of the texts at most {lengths.most:,}, longest {lengths.longest:,}"
        )
        for cut in lengths.cuts:
            is_cut = f"{cut.texts:.1%} of the texts and {cut.words:.1%} of the words are cut"
            lines_by_name[f"max_words {cut.max_words}"] = is_cut if cut.texts else "no text is cut"
    if unknown := inspection.unknown:
        most = ", ".join(f"{word!r} {count:,}" for word, count in unknown.words[:8])
        lines_by_name["unknown"] = f"{unknown.share:.1%} of the words read" + (f", most often {most}" if most else "")
    if inspection.num_looked_at < inspection.num_texts:
        lines_by_name["looked at"] = f"the words of a random sample of {inspection.num_looked_at:,} texts"
    return lines_by_name


def _table(inspection: Inspection) -> Iterator[str]:
    """The table of classes; if there are too many, the largest ones."""
    classes = list(inspection.classes)
    if len(classes) > MOST_CLASSES:
        classes = sorted(classes, key=lambda counts: -counts.total)[:MOST_CLASSES]
    names = [shortened(counts.name, 40) for counts in classes]
    width = max(map(cell_len, ["class", *names]))
    total = max(1, inspection.num_texts)
    parts = splits(inspection)
    yield "  ".join([set_cell_size("class", width), *(f"{split:>9}" for split in parts), f"{'all':>9}", " share"])
    for name, counts in zip(names, classes, strict=True):
        numbers = [*(counts.splits.get(split, 0) for split in parts), counts.total]
        yield "  ".join(
            [set_cell_size(name, width), *(f"{number:>9,}" for number in numbers), f"{counts.total / total:>6.1%}"]
        )
    if left := len(inspection.classes) - len(classes):
        yield f"and {left:,} smaller classes"
