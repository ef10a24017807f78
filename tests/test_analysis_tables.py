"""Every format says what the frame says, and no text in it is taken for anything else."""

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from rich.cells import cell_len
from rich.console import Console

from analysis.base import formats, pictures, tables, terminal
from analysis.base.table import Table, cell, heading
from data.base.errors import UserError

NASTY = [
    "=1+1",
    "+x",
    "-x",
    "@SUM(A1)",
    "\tx",
    "\rx",
    'a,"b"',
    "a|b\\",
    "50% & $5_#{}~^<>",
    "two\nlines",
    "\x1b[31mred",
    "é",
]


def table(**options: object) -> Table:
    frame = pd.DataFrame(
        {
            "rank": pd.array([1, 2, None], dtype="Int64"),
            "trial": ["gru-0", "gru-1", "gru-2"],
            "val_accuracy": [0.81239, 0.5, float("nan")],
            "num_parameters": pd.array([1234567, 12, None], dtype="Int64"),
            "learning_rate": [1e-05, 0.0123456, 3.0],
            "max_grad_norm": pd.Series([None, 1.0, float("nan")], dtype=object),
        }
    )
    groups = [["rank", "trial", "val_accuracy"], ["num_parameters", "learning_rate", "max_grad_norm"]]
    return Table(
        **{"frame": frame, "groups": groups, "key": "trial", "title": "a_title", "notes": ["a note"]} | options
    )  # type: ignore[arg-type]


def names(values: list[str]) -> Table:
    return Table(pd.DataFrame({"trial": values, "n": range(len(values))}), [["trial", "n"]], key="trial")


def printed(shown: Table, width: int) -> list[str]:
    out = io.StringIO()
    terminal.show(shown, Console(file=out, width=width, color_system=None))
    return [line.rstrip() for line in out.getvalue().splitlines()]


# --- csv and json: exact, for programs


def test_csv_keeps_every_column_and_digit() -> None:
    rows = list(csv.DictReader(io.StringIO(formats.to_csv(table().frame))))
    assert [row["val_accuracy"] for row in rows] == ["0.81239", "0.5", ""]
    assert [row["num_parameters"] for row in rows] == ["1234567", "12", ""]
    assert [float(row["learning_rate"]) for row in rows] == [1e-05, 0.0123456, 3.0]


def test_csv_carries_columns_that_are_not_shown() -> None:
    shown = table(groups=[["trial"]])
    assert formats.to_csv(shown.frame).startswith("rank,trial,val_accuracy,num_parameters")
    assert list(json.loads(formats.to_json(shown.frame))[0])[:2] == ["rank", "trial"]


def test_csv_survives_any_text_and_runs_no_formula() -> None:
    read = [row[0] for row in csv.reader(io.StringIO(formats.to_csv(names(NASTY).frame), newline=""))][1:]
    assert read == ["'" + text if text[0] in "=+-@\t\r" else text for text in NASTY]


def test_csv_leaves_numbers_that_are_text_alone() -> None:
    assert formats.to_csv(names(["-1e-3", "+4"]).frame) == "trial,n\n-1e-3,0\n+4,1\n"


def test_csv_escapes_a_column_name() -> None:
    assert formats.to_csv(pd.DataFrame({"=cmd": [-1]})) == "'=cmd\n-1\n"


def test_json_has_numbers_as_numbers_and_null_for_none() -> None:
    first, _, last = json.loads(formats.to_json(table().frame))
    assert first == {
        "rank": 1,
        "trial": "gru-0",
        "val_accuracy": 0.81239,
        "num_parameters": 1234567,
        "learning_rate": 1e-05,
        "max_grad_norm": None,
    }
    assert last["val_accuracy"] is last["rank"] is last["max_grad_norm"] is None


def test_json_has_no_infinity() -> None:
    endless = Table(pd.DataFrame({"loss": [float("inf"), 1.0]}), [["loss"]], key="loss")
    assert json.loads(formats.to_json(endless.frame), parse_constant=pytest.fail) == [{"loss": None}, {"loss": 1.0}]


def test_json_survives_any_text() -> None:
    assert [row["trial"] for row in json.loads(formats.to_json(names(NASTY).frame))] == NASTY


# --- markdown, latex, terminal: rounded, for readers


def test_markdown_has_a_row_a_line_and_as_many_cells_in_each() -> None:
    text = formats.to_markdown(names(NASTY))
    rows = text.splitlines()
    assert len(rows) == 2 + len(NASTY)
    assert {row.replace("\\\\", "").replace("\\|", "").count("|") for row in rows} == {3}


def test_markdown_escapes_its_own_characters() -> None:
    assert r"| a\|b\\ | 0 |" in formats.to_markdown(names(["a|b\\"]))
    assert r"\<b>" in formats.to_markdown(names(["<b>"]))


def test_markdown_has_title_headings_alignment_and_notes() -> None:
    assert formats.to_markdown(table()).splitlines() == [
        "**a_title**",
        "",
        "| # | trial | val accuracy | parameters | learning rate | max grad norm |",
        "| ---: | --- | ---: | ---: | ---: | --- |",
        "| 1 | gru-0 | 0.8124 | 1,234,567 | 1e-05 | None |",
        "| 2 | gru-1 | 0.5000 | 12 | 0.0123 | 1 |",
        "|  | gru-2 |  |  | 3 |  |",
        "",
        "a note",
    ]


def test_latex_escapes_every_special_character() -> None:
    row = formats.to_latex(names(["50% & $5_#{}~^<>|\\"])).splitlines()[7]
    assert row == (
        r"50\% \& \$5\_\#\{\}\textasciitilde{}\textasciicircum{}"
        r"\textless{}\textgreater{}\textbar{}\textbackslash{} & 0 \\"
    )


def test_latex_is_a_booktabs_table() -> None:
    text = formats.to_latex(table())
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"\begin{tabular}{rlrrrl}" in text
    assert r"\caption{a\_title. a note}" in text
    assert text.count(r" \\") == 4


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_terminal_shows_every_cell_whole_within_its_width(width: int) -> None:
    lines = printed(table(), width)
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    for value in ("0.8124", "1,234,567", "1e-05", "0.0123", "None", "a_title", "a note"):
        assert value in text
    assert "…" not in text


def test_columns_that_do_not_fit_come_below_with_the_key() -> None:
    wide, narrow = printed(table(), 80), printed(table(), 40)
    assert sum("gru-1" in line for line in wide) == 1
    assert sum("gru-1" in line for line in narrow) == 2


def test_a_group_too_wide_alone_is_split_evenly() -> None:
    frame = pd.DataFrame({"trial": ["gru-0"]} | {f"number{i}": [i] for i in range(6)})
    lines = printed(Table(frame, [["trial"], [f"number{i}" for i in range(6)]], key="trial"), 40)
    heads = [line.split() for line in lines if "trial" in line and "number" in line]
    assert heads == [["trial", *(f"number{i}" for i in part)] for part in (range(3), range(3, 6))]


def test_a_terminal_shows_markup_as_text_and_obeys_no_control_characters() -> None:
    text = "\n".join(printed(names(["[red]x[/red]", "\x1b[31mred", "two\nlines"]), 80))
    assert "[red]x[/red]" in text
    assert "\x1b" not in text
    assert "two lines" in text


def test_a_pipe_gets_no_trailing_blanks_and_columns_decides_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert terminal.to_text(table()).count("gru-1") == 2
    monkeypatch.delenv("COLUMNS")
    assert terminal.to_text(table()).count("gru-1") == 1
    assert all(line == line.rstrip() for line in terminal.to_text(table()).splitlines())


@pytest.mark.parametrize("form", tables.TEXTS)
def test_every_format_takes_an_empty_frame(form: str) -> None:
    empty = table(frame=table().frame.iloc[:0])
    text = tables.TEXTS[form](empty)
    assert text.endswith("\n")
    assert "gru" not in text


def test_headings_and_cells() -> None:
    assert [heading(name) for name in ("test_roc_auc", "val_f1", "rank")] == ["test ROC AUC", "val F1", "#"]
    assert cell("run_id", "0123456789abcdef") == "01234567"
    assert [cell("dropout", value) for value in (0.30000000000000004, None, float("nan"), 3, True)] == [
        "0.3",
        "None",
        "",
        "3",
        "True",
    ]


# --- Where it goes


def test_the_format_follows_the_ending_unless_told() -> None:
    assert tables.choose_format(None, None) == "table"
    assert tables.choose_format(None, Path("a.TEX")) == "latex"
    assert tables.choose_format(None, Path("a.txt")) == "table"
    assert tables.choose_format("json", Path("a.csv")) == "json"
    with pytest.raises(ValueError, match=r"unknown format 'cvs' \(did you mean 'csv'\?\)"):
        tables.choose_format("cvs", None)


def test_a_file_is_written_whole_and_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "board.csv"
    path.write_text("old")
    tables.emit([table()], "csv", path)
    assert path.read_text(encoding="utf-8") == formats.to_csv(table().frame)
    assert [each.name for each in tmp_path.iterdir()] == ["board.csv"]
    assert capsys.readouterr().out == f"wrote 3 rows to {path}\n"


def test_a_file_without_a_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        tables.choose_format(None, tmp_path / "nowhere" / "board.csv")


def test_a_figure_that_cannot_be_written_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    files = pictures.encode(Figure(), table().frame, ("svg", "png"))
    assert list(files) == ["csv", "svg", "png"]
    assert pictures.save(files, tmp_path / "a.PNG") == [tmp_path / name for name in ("a.csv", "a.svg", "a.PNG")]
    (tmp_path / "b.svg").mkdir()
    for png, message in (("nowhere/a.png", "there is no folder"), ("b.png", "it is a folder")):
        with pytest.raises(UserError, match=message):
            pictures.save(files, tmp_path / png)


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        tables.write("x", tmp_path / "nowhere" / "board.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="it is a folder"):
        tables.write("x", tmp_path / "folder")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
