"""The report page as a reader sees it: in a real browser, of a real search and of one with hostile names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import FinishedSearch, here
from playwright.sync_api import Browser, Page
from playwright.sync_api import Error as PlaywrightError
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.base import baselines, runs
from analysis.base.runs import Search
from analysis.base.table import Table
from analysis.boards.confirmation import confirmation_table
from analysis.figures.plot import PlotData
from analysis.figures.plots import PLOTS
from analysis.report import report, settings, summary, view
from analysis.verdicts import importance
from data.inspecting.findings import ClassCount, Finding, Inspection
from search.base import schema
from search.spec import read as specs

WIDTHS = (1280, 400)  # pixels
HOSTILE = """<script>document.title = "taken"</script><img src=x onerror="document.title='taken'">'"=1+1"""


@dataclass
class Visit:
    """A page, and what happened while it was open."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @classmethod
    def to(cls, browser: Browser, path: Path, width: int = 1280) -> "Visit":
        visit = cls(browser.new_page(viewport={"width": width, "height": 900}))
        visit.page.on("console", lambda message: visit.complaints.append(message.text))
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        visit.page.on("request", lambda request: visit.requests.append(request.url))
        visit.page.goto(path.as_uri())
        return visit

    def column(self, heading: str) -> list[str]:
        """The visible cells of a column of the leaderboard."""
        heads = self.page.locator("#trials th").all_inner_texts()
        (place,) = (place for place, text in enumerate(heads) if text.split() == heading.split())
        return self.page.locator(f"#trials tbody tr:visible td:nth-child({place + 1})").all_inner_texts()

    def sort(self, heading: str) -> None:
        name = re.compile(rf"^{re.escape(heading)}\W*$")  # the arrow is part of the name
        self.page.locator("#trials th").get_by_role("button", name=name).click()


def overflowing(page: Page) -> Any:
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


# --- Of a real search


@pytest.fixture(scope="module")
def folder(smoke_search: FinishedSearch) -> Path:
    done = here("analysis", "report", smoke_search.id, cwd=smoke_search.cwd)
    folder = smoke_search.cwd / "reports" / smoke_search.id
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"wrote {folder / 'index.html'}\n"
    return folder


@pytest.fixture
def visit(browser: Browser, folder: Path) -> Iterator[Visit]:
    visit = Visit.to(browser, folder / "index.html")
    yield visit
    visit.page.close()
    assert visit.complaints == []
    assert [url for url in visit.requests if not url.startswith("data:")] == [(folder / "index.html").as_uri()]


def test_the_page_has_its_parts_in_their_order(visit: Visit, smoke_search: FinishedSearch) -> None:
    assert visit.page.title() == smoke_search.id
    assert visit.page.locator("h2").evaluate_all("heads => heads.map(head => head.id)") == [
        *("leaderboard", "winners", "comparisons", "figures", "searched", "texts", "ledger", "failures", "repeat")
    ]
    for link in visit.page.locator("nav a").all():
        assert visit.page.locator(str(link.get_attribute("href"))).count() == 1


def test_every_trial_links_to_its_run(visit: Visit, smoke_search: FinishedSearch) -> None:
    search = runs.find_search(smoke_search.uri)
    trials = runs.read_trials(smoke_search.uri, search.id)
    base = f"http://127.0.0.1:5000/#/experiments/{search.experiment_id}/runs/"
    for _, trial in trials.iterrows():
        row = visit.page.locator("#trials tbody tr").filter(has=visit.page.get_by_text(trial["trial"], exact=True))
        links = row.locator("a").evaluate_all("links => links.map(link => link.href)")
        assert links == [f"{base}{trial['run_id']}?workflowType=machine_learning"] * 2  # its name, and the run id
    ui = "mlflow ui --allowed-hosts 'localhost:*,127.0.0.1:*' --backend-store-uri sqlite:///mlflow.db"
    assert f"start it with {ui} first, in the folder of that file." in visit.page.locator("header").inner_text()


def test_sorting_by_a_click_or_a_key(visit: Visit) -> None:
    before = visit.column("trial")
    assert [float(cell) for cell in visit.column("#") if cell] == [*range(1, len(visit.column("#")) + 1)]
    for direction, sign in (("ascending", 1), ("descending", -1)):
        visit.sort("val accuracy")
        scores = [float(cell) for cell in visit.column("val accuracy")]
        assert scores == sorted(scores, key=lambda score, sign=sign: sign * score)
        sorted_by = visit.page.locator("#trials th[aria-sort]:not([aria-sort=none])")
        assert [sorted_by.get_attribute("aria-sort"), sorted_by.count()] == [direction, 1]
    visit.page.locator("#trials th").get_by_role("button").nth(1).focus()
    visit.page.keyboard.press("Enter")
    assert visit.column("trial") == sorted(before)


def test_what_is_missing_comes_last_in_both_directions(visit: Visit) -> None:
    for _ in range(2):
        visit.sort("num layers")  # rnn, gru and cnn of the smoke search have one layer, which is not in its space
        cells = visit.column("num layers")
        known = [cell for cell in cells if cell]
        assert cells == [*known, *[""] * (len(cells) - len(known))]


def test_filtering(visit: Visit) -> None:
    trials = visit.column("trial")
    visit.page.get_by_label("Filter").fill("GRU complete")
    assert visit.column("trial")
    assert set(visit.column("trial")) <= {trial for trial in trials if trial.startswith("gru-")}
    assert visit.page.locator("#shown").inner_text() == f"{len(visit.column('trial'))} of {len(trials)} trials"
    visit.page.get_by_label("Filter").fill("nothing is called so")
    assert visit.column("trial") == []
    visit.page.get_by_label("Filter").fill("")
    assert visit.column("trial") == trials
    visit.page.locator("#ledger ~ .table a", has_text="mlp").first.click()
    assert {trial.rpartition("-")[0] for trial in visit.column("trial")} == {"mlp"}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_screen_answers_a_readers_four_questions(
    browser: Browser, folder: Path, smoke_search: FinishedSearch, width: int
) -> None:
    page = Visit.to(browser, folder / "index.html", width).page
    questions = page.locator(".verdict dt")
    assert questions.all_inner_texts() == ["What won", "Gain over the baseline", "How sure", "What to run next"]
    answers = page.locator(".verdict dd")
    texts = " ".join(answers.all_inner_texts())
    assert "Best of all by validation accuracy is " in texts
    assert f"python -m search confirm {smoke_search.id}" in texts
    last, table = answers.last.bounding_box(), page.locator("table").first.bounding_box()
    assert last
    assert table
    assert last["y"] + last["height"] < min(900, table["y"])
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(browser: Browser, folder: Path, width: int) -> None:
    page = Visit.to(browser, folder / "index.html", width).page
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert overflowing(page) == 0
    boxes = page.locator("img").evaluate_all(
        "all => all.map(each => each.naturalWidth * each.getBoundingClientRect().width)"
    )
    assert len(boxes) >= 6
    assert all(boxes)
    page.close()


def test_it_prints(visit: Visit) -> None:
    visit.page.emulate_media(media="print")
    visit.page.set_viewport_size({"width": 794, "height": 1123})  # A4
    assert not visit.page.locator("nav").is_visible()
    assert visit.page.locator("#trials tbody tr").count() == len(visit.column("trial"))
    assert visit.page.pdf()[:5] == b"%PDF-"


def test_each_figure_has_its_files_beside_the_page(visit: Visit, folder: Path) -> None:
    for name in PLOTS:
        files = {path.suffix for path in (folder / "figures").glob(f"{name}.*")}
        if visit.page.locator(f"figure#{name}").count():
            assert files == {".png", ".svg", ".csv"}
            assert len((folder / "figures" / f"{name}.csv").read_text(encoding="utf-8").splitlines()) > 1
            for link in visit.page.locator(f"figure#{name} figcaption a").all():
                assert (folder / str(link.get_attribute("href"))).is_file()
        else:
            assert files == set()
            assert "left out, because" in visit.page.locator(f"p#{name}").inner_text()


def test_the_words_are_those_of_the_leaderboard(visit: Visit, smoke_search: FinishedSearch) -> None:
    said = visit.page.locator(".summary").inner_text()
    best, score = visit.column("trial")[0], visit.column("val accuracy")[0]
    assert f"{best} {score} (test accuracy {visit.column('test accuracy')[0]}), " in said
    assert (
        f"Best of all by validation accuracy is {best} ({score})."
        in visit.page.locator(".verdict dd").first.inner_text()
    )
    assert re.search(rf"^{smoke_search.num_trials} trials: .*\. Trained for \d+ s in all, from 20", said, re.MULTILINE)


def test_it_says_whether_the_architectures_differ(visit: Visit, smoke_search: FinishedSearch) -> None:
    matrix = visit.page.locator("section", has=visit.page.locator("#comparisons")).locator("table").first
    rows = matrix.locator("tbody td:first-child").all_inner_texts()
    assert sorted(rows) == sorted(smoke_search.spec.architectures)
    assert matrix.locator("th").all_inner_texts() == ["architecture", *rows]


def test_it_says_why_it_does_not_tell_which_wins_at_which_budget(visit: Visit, smoke_search: FinishedSearch) -> None:
    said = visit.page.locator("section", has=visit.page.locator("#comparisons")).inner_text()
    assert f"Which architecture wins at which budget is unknown from {smoke_search.id}" in said
    assert "(sampler: tpe, pruner: asha)" in said
    assert "--repeat 5" in said


def test_it_says_what_was_found_in_the_texts(visit: Visit) -> None:
    texts = visit.page.locator("section", has=visit.page.locator("#texts"))
    assert "serious max_words 30 cuts" in texts.locator("li").first.inner_text()
    assert texts.get_by_role("cell", name="negative", exact=True).count() == 1
    assert texts.locator("figure#text_lengths img").count() == 1


def test_a_search_without_a_word_on_its_texts_has_no_section_of_them(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(page(search(), []), encoding="utf-8")
    visit = Visit.to(browser, tmp_path / "index.html")
    assert visit.page.locator("#texts, nav a[href='#texts']").count() == 0
    visit.page.close()


def test_it_says_how_to_repeat_it(visit: Visit, smoke_search: FinishedSearch, folder: Path) -> None:
    repeat = visit.page.locator("section", has=visit.page.locator("#repeat"))
    assert "python -m search run spec.yaml" in repeat.inner_text()
    tags = runs.find_search(smoke_search.uri).tags
    assert tags[schema.DATA_DIGEST] in repeat.inner_text()
    assert tags[schema.VERSION_PREFIX + "torch"] in repeat.inner_text()
    repeat.locator("summary").click()
    assert repeat.locator("details pre").inner_text().strip() == (folder / "spec.yaml").read_text().strip()
    assert specs.read(str(folder / "spec.yaml"), []) == specs.read("smoke", ["baselines=none"])


def test_it_holds_no_path_of_this_machine(smoke_search: FinishedSearch, folder: Path) -> None:
    assert str(smoke_search.cwd) not in (folder / "index.html").read_text(encoding="utf-8")


def test_where_it_cannot_be_written(smoke_search: FinishedSearch) -> None:
    taken = smoke_search.cwd / "taken"
    taken.touch()
    done = CliRunner().invoke(app, ["report", smoke_search.id, "--out", str(taken), "--tracking-uri", smoke_search.uri])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: cannot make the folder {taken / 'figures'}: Not a directory\n"


# --- Of made-up searches


START = datetime(2026, 1, 1, 10, tzinfo=UTC)


def search(**more: Any) -> Search:
    """spec: its keys."""
    spec = more.pop("spec", {"corpus": "imdb"})
    known: dict[str, Any] = {"outcome": "complete", "tags": {}, "load_spec": lambda: specs.validate(spec, files=False)}
    return Search("demo-20260101-100000", "parent", "7", START, "val_accuracy", **known | more)


def page(found_search: Search, rows: list[dict[str, Any]], uri: str = "sqlite:///mlflow.db", **more: Any) -> str:
    trials = runs.tidy({"architecture": "gru", "outcome": "complete"} | row for row in rows)
    rng = np.random.default_rng(0)
    mattered = importance.importance_tables(found_search, trials, found_search.spec, rng)
    found = PlotData(trials, space=found_search.spaces, mattered=mattered[0].frame, inspection=more.get("inspection"))
    return report.render(uri, found_search, found, {}, mattered, more.get("confirmed", ()))


def test_hostile_names_stay_text(browser: Browser, tmp_path: Path) -> None:
    rows = [
        {
            "trial": f"{HOSTILE}-{number}",
            "architecture": HOSTILE,
            "number": number,
            "run_id": HOSTILE,
            "val_accuracy": 0.5,
        }
        | {"act": HOSTILE + str(number), HOSTILE: number, "error": HOSTILE, "outcome": ["complete", "failed"][number]}
        for number in range(2)
    ]
    hostile = search(
        spec={"corpus": HOSTILE}, tags={schema.GIT_COMMIT: HOSTILE, "version.x": HOSTILE, HOSTILE: HOSTILE}
    )
    confirmed = [Table(pd.DataFrame({"a": [HOSTILE]}), groups=[["a"]], key="a", title=HOSTILE, notes=[HOSTILE])]
    finding = Finding(HOSTILE, "serious", HOSTILE, 1, HOSTILE + "\n", HOSTILE)
    classes = (ClassCount(HOSTILE, 1, {"train": 1}), ClassCount("b", 2, {"train": 2}))
    inspection = Inspection(HOSTILE, {HOSTILE: HOSTILE}, 3, 3, classes, None, None, (finding,))
    html = page(hostile, rows, confirmed=confirmed, inspection=inspection)
    (tmp_path / "index.html").write_text(html, encoding="utf-8")
    visit = Visit.to(browser, tmp_path / "index.html")
    assert visit.page.title() == hostile.id
    assert visit.complaints == []
    assert len(visit.requests) == 1
    assert visit.page.locator("script").count() == 1
    with pytest.raises(PlaywrightError, match="Content Security Policy"):  # no other script runs
        visit.page.add_script_tag(content="document.title = 'run'")
    assert visit.page.title() == hostile.id
    assert visit.page.locator("#trials tbody tr").first.locator("td").nth(1).inner_text() == f"{HOSTILE}-0"
    assert visit.page.locator("section", has=visit.page.locator("#confirmed")).locator("td").inner_text() == HOSTILE
    texts = visit.page.locator("section", has=visit.page.locator("#texts"))
    assert texts.locator("li").inner_text() == f"serious {HOSTILE} ({HOSTILE}). To do: {HOSTILE} ."
    assert texts.locator("table").last.locator("tr").nth(1).inner_text().split("\t") == [HOSTILE, "1", "1", "33.3%"]
    visit.page.close()


@pytest.mark.parametrize(
    "rows", [[], [{"trial": "gru-0", "outcome": None}], [{"trial": "gru-0", "outcome": "diverged"}]]
)
def test_a_search_without_a_result_has_a_page(browser: Browser, tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    (tmp_path / "index.html").write_text(page(search(outcome=None, spec={"epochz": 1}), rows), encoding="utf-8")
    visit = Visit.to(browser, tmp_path / "index.html", 400)
    text = visit.page.locator("body").inner_text()
    assert "No trial can be ranked." in text
    assert "The search is not finished (its outcome is unknown)" in text
    assert visit.page.get_by_label("Filter").count() == min(len(rows), 1)
    assert (visit.complaints, overflowing(visit.page)) == ([], 0)
    visit.page.close()


def test_failures_come_with_their_reasons() -> None:
    rows = [{"trial": "gru-0"}, {"trial": "gru-1", "outcome": "pruned"}]
    rows += [
        {"trial": "gru-2", "outcome": "diverged", "error": "loss is nan"},
        {"trial": "gru-3", "outcome": "running"},
    ]
    frame = report.failures(runs.tidy({"architecture": "gru", "outcome": "complete"} | row for row in rows)).frame
    assert frame["trial"].tolist() == ["gru-2", "gru-3"]
    assert frame["reason"].iloc[0] == "loss is nan"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://localhost:5001/", "http://localhost:5001/#/experiments/7/runs/a%2Fb?workflowType=machine_learning"),
        (
            "https://me:secret@host/mlflow",
            "https://host/mlflow/#/experiments/7/runs/a%2Fb?workflowType=machine_learning",
        ),
        ("sqlite:////data/mlflow.db", "http://127.0.0.1:5000/#/experiments/7/runs/a%2Fb?workflowType=machine_learning"),
        (
            "postgresql://me:secret@host/db",
            "http://127.0.0.1:5000/#/experiments/7/runs/a%2Fb?workflowType=machine_learning",
        ),
    ],
)
def test_a_run_is_where_mlflow_serves_it(uri: str, expected: str) -> None:
    links = view.Links(uri, search(), runs.tidy([{"trial": "gru-0", "run_id": "a/b"}]))
    assert links.run("a/b") == links.of("run_id", "a/b") == links.of("trial", "gru-0") == expected
    assert links.of("trial", "gru-1") is links.of("val_accuracy", 0.5) is None
    html = page(search(), [{"trial": "gru-0", "run_id": "a/b", "val_accuracy": 0.5}], uri)
    assert expected in html
    assert "secret" not in html
    assert ("mlflow ui --allowed-hosts" in html) is not uri.startswith("http")  # once, of this very database


def test_settings_and_space_in_words() -> None:
    counts = {"num_train": 19924.0, "num_val": 2490.0, "num_test": 2490.0, "num_classes": 2.0}
    spec: dict[str, Any] = {"name": "demo", "architectures": ["rnn", "mlp"], "resources": {"cpu": 2}}
    shown = settings.settings(search(spec=spec, metrics=counts)).frame.to_numpy().tolist()
    assert shown[:3] == [
        ["corpus", "imdb"],
        ["texts", "19,924 training, 2,490 validation, 2,490 test"],
        ["classes", "2"],
    ]
    assert ["architectures", "rnn, mlp"] in shown
    assert ["resources", "cpu: 2.0, gpu: 0.0"] in shown
    assert ["texts shown", "page"] in shown
    assert {"limit", "storage", "space", "name"}.isdisjoint(name for name, _ in shown)
    space = {
        "hidden_size": {"low": 64, "high": 128, "step": 8},
        "learning_rate": {"low": 1e-4, "high": 0.01, "log": True},
        "num_layers": {"rnn": {"low": 1, "high": 2}, "mlp": 3},
        "activation": ["none", "relu"],
    }
    assert settings.searched(search(spec=spec | {"space": space})).frame["value"].tolist() == [
        *("64 to 128 in steps of 8", "0.0001 to 0.01 (log)", "rnn: 1 to 2; mlp: 3", "none, relu")
    ]


def test_a_spec_that_can_be_read_no_longer_is_one_line_in_the_settings() -> None:
    unreadable = search(spec={"epochz": 1})
    assert settings.searched(unreadable).frame.empty
    shown = settings.settings(unreadable)
    assert shown.frame.to_numpy().tolist() == [["corpus", "unknown"], ["texts", "unknown"]]
    assert shown.notes == [
        "The spec of the search cannot be read from MLflow: spec: unknown key 'epochz' (did you mean 'epochs'?)."
    ]


def test_the_words_of_a_search_that_runs_over_midnight() -> None:
    best = {"trial": "gru-0", "run_id": "r", "val_accuracy": 0.5, "seconds": 3.0, "outcome": "pruned"}
    overnight = search(end=START + timedelta(hours=15))
    found = PlotData(runs.tidy([best | {"architecture": "gru"}]))
    links = view.Links("sqlite:///mlflow.db", overnight, found.trials)
    words = [re.sub("<.*?>", "", sentence) for sentence in summary.summary(overnight, found, links)]
    assert words == [
        "The only architecture with a ranked trial by validation accuracy: gru-0 0.5000 (no test score).",
        "Each score is of one trial with one seed: small differences can be luck.",
        "1 trial: 1 pruned. Trained for 3 s in all, from 2026-01-01 10:00 to 2026-01-02 01:00 UTC.",
    ]


def test_baselines_are_marked_rows_and_the_page_begins_with_what_is_best_of_all() -> None:
    common = {"outcome": "complete", "seconds": 1.5}
    trials = runs.tidy(
        common | {"trial": name, "architecture": name[:-2], "run_id": name, "val_accuracy": score}
        for name, score in (("gru-0", 0.6), ("nbsvm-0", 0.7), ("nbsvm-1", 0.8))
    )
    found = PlotData(baselines.searched(trials), baselines=baselines.baselines(trials))
    html = report.render("sqlite:///mlflow.db", search(), found, {}, [], answers=[("What won", "<nbsvm-1>")])
    words = re.sub(r"\s+", " ", re.sub("<.*?>", " ", html[html.index("<body>") :]))
    assert words.index("What won &lt;nbsvm-1&gt;") < words.index("The only architecture with a ranked trial")
    assert "1 trial: 1 complete. Trained for 2 s in all" in words
    assert "Baselines: 2 trials, 3 s in all." in words
    assert " 3 trials by val_accuracy, only the best of each baseline " in words
    assert "first 2 of" not in words
    assert " nbsvm-1 baseline nbsvm-1 0.8000 " in words
    assert " gru-0 searched gru-0 0.6000 " in words
    assert "nbsvm-0 baseline" not in words


def test_the_words_of_a_task_without_accuracy() -> None:
    scores = {"val_loss": 1.0, "val_pixel_error": 0.25, "test_pixel_error": 0.5}
    trials = runs.tidy([{"trial": "net-0", "architecture": "net", "run_id": "r", "outcome": "complete"} | scores])
    links = view.Links("sqlite:///mlflow.db", search(), trials)
    first, *_ = summary.summary(search(), PlotData(trials, rank_by="val_pixel_error"), links)
    assert "by validation pixel error: net-0 0.2500 (test pixel error 0.5000)." in re.sub("<.*?>", "", first)


def test_the_winner_is_that_of_the_fresh_seeds() -> None:
    """The gru's search score is the best, the rnn's mean of 0.7 and 0.8 is; without an rnn, nothing is decided."""
    common = {"search": search().id, "outcome": "complete", "num_parameters": 1}
    trials = runs.tidy(
        common | {"trial": f"{name}-0", "architecture": name, "number": 0, "val_accuracy": score, "run_id": name}
        for name, score in (("gru", 0.9), ("rnn", 0.6))
    )
    again = runs.tidy(
        common | {"architecture": name, "configuration": f"{name}-0", "seed": seed, "val_accuracy": score}
        for name, scores in (("gru", (0.5, 0.6)), ("rnn", (0.7, 0.8)))
        for seed, score in enumerate(scores)
    )
    found = PlotData(trials)
    links = view.Links("sqlite:///mlflow.db", search(), trials)

    def words(repeated: pd.DataFrame) -> list[str]:
        confirmed = [confirmation_table(search(), [], trials, repeated)]
        return [re.sub("<.*?>", "", sentence) for sentence in summary.summary(search(), found, links, confirmed)]

    first, *_ = words(again)
    assert first == (
        "The best of each architecture by validation accuracy: rnn-0 0.7500 (no test score, mean over 2 fresh seeds), "
        "gru-0 0.5500 (no test score, mean over 2 fresh seeds)."
    )
    partly = words(again[again["architecture"] == "gru"])
    assert partly[0].startswith("The best of each architecture by validation accuracy: gru-0 0.9000")
    assert "Each score is of one trial with one seed: small differences can be luck." in partly


def test_a_figure_that_is_left_out_now_leaves_no_files(tmp_path: Path) -> None:
    png = tmp_path / "pruning.png"
    assert report._image({"png": b"p", "svg": b"s", "csv": b"c"}, png) == "data:image/svg+xml;base64,cw=="
    (tmp_path / "notes.csv").touch()
    assert report._image({}, png) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["notes.csv"]
