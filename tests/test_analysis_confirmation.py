"""Confirmations and differences computed by hand, and read from MLflow."""

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from typer.testing import CliRunner

import bakeoff
from analysis.__main__ import app
from analysis.base import runs, tables
from analysis.base.runs import Search, tidy
from analysis.boards import confirmation
from analysis.explain import lookup
from analysis.verdicts import differences
from search.base import schema
from search.serve import export

SEARCH = "demo-20260101-100000"
CONFIRM = "demo-confirm-20260101-110000"


def search(id: str, digest: str = "d" * 64, **tags: str) -> Search:
    tags = {schema.DATA_DIGEST: digest} | tags
    return Search(id, f"run-{id}", "1", datetime(2026, 1, 1, tzinfo=UTC), "val_accuracy", None, tags)


def trial(name: str, val_accuracy: float | None, outcome: str = "complete", **more: Any) -> dict[str, Any]:
    architecture, _, number = name.rpartition("-")
    fixed = {"search": SEARCH, "trial": name, "architecture": architecture, "number": number, "outcome": outcome}
    return fixed | {"val_accuracy": val_accuracy, "num_parameters": 100, "run_id": f"run-of-{name}"} | more


def again(configuration: str, seed: int, val_accuracy: float | None, outcome: str = "complete", **more: Any) -> Any:
    name = f"{configuration.rpartition('-')[0]}-{seed}"
    row = trial(name, val_accuracy, outcome, search=CONFIRM, configuration=configuration, seed=seed)
    return row | {"run_id": f"{configuration}/{seed}"} | more


TRIALS = tidy(
    [
        trial("gru-0", 0.80, hidden_size=8),
        trial("gru-3", 0.90, hidden_size=16, num_parameters=300),
        trial("rnn-1", 0.70, hidden_size=8),
    ]
)
REPEATED = tidy(
    [
        *(again("gru-3", seed, score, test_accuracy=score - 0.1) for seed, score in enumerate([0.79, 0.81, 0.83])),
        *(again("gru-0", seed, score, test_accuracy=0.5) for seed, score in enumerate([0.84, 0.86])),
        again("rnn-1", 0, 0.72, test_accuracy=0.6),
        again("rnn-1", 1, 0.99, "diverged"),
        again("rnn-1", 0, 0.72, test_accuracy=0.6, run_id="the same seed in a second confirmation"),
        again("rnn-2", 0, None, "failed"),
    ]
)


# --- Confirmed configurations


def test_the_confirmed_are_ranked_by_their_mean_and_fall_from_their_search_score() -> None:
    table = confirmation.confirmed(TRIALS, REPEATED).set_index("trial")
    assert table["rank"].dropna().to_dict() == {"gru-0": 1, "gru-3": 2, "rnn-1": 3}
    assert table["seeds"].to_dict() == {"gru-0": 2, "gru-3": 3, "rnn-1": 1, "rnn-2": 0}
    assert table["lost"].to_dict() == {"gru-0": 0, "gru-3": 0, "rnn-1": 1, "rnn-2": 1}
    assert table["trials"].to_dict() == {"gru-0": 2, "gru-3": 3, "rnn-1": 3, "rnn-2": 1}
    assert table["fall"].tolist() == pytest.approx([0.80 - 0.85, 0.90 - 0.81, 0.70 - 0.72, np.nan], nan_ok=True)
    # mean 0.81, standard deviation 0.02, t(0.975, 2) = 4.3027
    half = 4.3027 * 0.02 / np.sqrt(3)
    interval = table.loc["gru-3", ["val_accuracy_mean", "val_accuracy_low", "val_accuracy_high"]]
    assert interval.tolist() == pytest.approx([0.81, 0.81 - half, 0.81 + half], abs=1e-5)
    assert table.loc["gru-3", ["test_accuracy_mean", "num_parameters", "hidden_size"]].tolist() == [0.71, 300, 16]
    assert table.loc["rnn-1", ["val_accuracy_mean", "val_accuracy_low"]].isna().tolist() == [False, True]
    assert table.loc["rnn-2", ["val_accuracy_search", "val_accuracy_mean", "run_id"]].isna().all()


def test_a_lucky_survivor_is_not_the_best() -> None:
    """Four of five seeds of gru-3 diverged; the one of gru-0 that failed was run again."""
    rows = [again("gru-3", seed, None, "diverged") for seed in range(4)]
    rows += [again("gru-3", 4, 0.99), again("gru-0", 0, 0.8), again("gru-0", 1, None, "failed"), again("gru-0", 1, 0.7)]
    table = confirmation.confirmed(TRIALS, tidy(rows))
    assert table[["rank", "trial", "seeds", "lost"]].to_numpy().tolist() == [[1, "gru-0", 2, 0], [2, "gru-3", 1, 4]]
    assert differences.best_configurations(tidy(rows))["gru"]["val_accuracy"].tolist() == [0.8, 0.7]


def test_an_interval_of_shares_is_within_0_and_1_and_equal_seeds_have_none() -> None:
    """Of 0.9 and 1: 0.95 ± 12.7 * 0.05, of which only the lower end is a share."""
    repeated = tidy(again("gru-0", seed, score, test_accuracy=0.5) for seed, score in enumerate([0.9, 1.0]))
    row = confirmation.confirmed(TRIALS, repeated).iloc[0]
    assert row[["val_accuracy_low", "val_accuracy_high"]].tolist() == pytest.approx(
        [0.95 - 12.7062 * 0.05, 1], abs=1e-5
    )
    assert row[["test_accuracy_low", "test_accuracy_high"]].isna().all()


def test_an_unknown_digest_is_not_a_different_one() -> None:
    unknown = Search(CONFIRM, "run", "1", datetime(2026, 1, 1, tzinfo=UTC), "val_accuracy", None, {})
    assert confirmation.same_data(search(SEARCH), unknown)
    assert not confirmation.same_data(search(SEARCH), search(CONFIRM, "e" * 64))


def test_a_loss_falls_when_it_rises() -> None:
    trials = tidy([trial("gru-0", 0.5, val_loss=0.4), trial("gru-1", 0.5, val_loss=0.3)])
    repeated = tidy([again("gru-0", 0, 0.5, val_loss=0.5), again("gru-1", 0, 0.5, val_loss=0.6)])
    table = confirmation.confirmed(trials, repeated, "val_loss")
    assert table["trial"].tolist() == ["gru-0", "gru-1"]
    assert table["fall"].tolist() == pytest.approx([0.1, 0.3])


def test_equal_means_go_to_fewer_parameters() -> None:
    trials = tidy([trial("gru-0", 0.5, num_parameters=200), trial("gru-1", 0.5)])
    table = confirmation.confirmed(trials, tidy([again("gru-0", 0, 0.6, num_parameters=200), again("gru-1", 1, 0.6)]))
    assert table["trial"].tolist() == ["gru-1", "gru-0"]


@pytest.mark.parametrize("form", tables.TEXTS)
@pytest.mark.parametrize(
    "repeated",
    [
        [],
        [again("gru-3", 0, 0.5)],
        [again("gru-3", 0, None, "diverged"), again("rnn-1", 0, None, "diverged")],
        [again('=gru,"3"|-1', 0, 0.5)],
        [{"run_id": "half-written"}],
    ],
    ids=["empty", "one", "all-diverged", "formula", "half-written"],
)
def test_every_format_of_every_kind_of_confirmation(form: str, repeated: list[dict[str, Any]]) -> None:
    table = confirmation.confirmation_table(search(SEARCH), [search(CONFIRM)], TRIALS, tidy(repeated))
    text = tables.TEXTS[form](table)
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert {row["trial"] for row in rows} == {
            name.replace("=", "'=") for row in repeated if (name := row.get("configuration"))
        }
    else:
        assert text


def test_notes_count_what_is_left_out() -> None:
    other = [search("demo-confirm-20260102-110000", "e" * 64)]
    table = confirmation.confirmation_table(
        search(SEARCH), [search(CONFIRM)], TRIALS, REPEATED, others=[each.id for each in other]
    )
    assert f"Confirmed by {CONFIRM}." in table.notes
    left = "Left out: 1 of the 3 trials of rnn-1, which are unfinished, without a score, or of a repeated seed."
    assert left in table.notes
    assert any(note.startswith("Lost: ") for note in table.notes)
    assert f"Left out, on other data than {SEARCH}: {other[0].id}." in table.notes


def test_a_confirmation_is_that_of_its_origin() -> None:
    first, second = search(CONFIRM, confirms=SEARCH), search("x-confirm-20260102-110000", confirms=SEARCH)
    known = [search(SEARCH), first, search("other-20260101-100000"), second]
    for asked in (known[0], first, second):
        assert confirmation.confirmations(known, asked) == (known[0], [first, second])
    assert confirmation.confirmations(known, known[2]) == (known[2], [])
    assert confirmation.confirmations([first], first) == (first, [])


# --- Differences


def predicted(labels: str, answers: str) -> pd.DataFrame:
    """A letter for each text: its class, and the one predicted."""
    return pd.DataFrame({"label": list(labels), "predicted": list(answers)}, dtype="str")


def test_the_best_configuration_is_that_of_the_best_mean() -> None:
    """One lucky trial does not make a configuration the best."""
    best = differences.best_configurations(REPEATED)
    assert list(best) == ["gru", "rnn"]
    assert best["gru"]["run_id"].tolist() == ["gru-0/0", "gru-0/1"]
    assert best["rnn"]["run_id"].tolist() == ["rnn-1/0"]


def test_without_confirmations_equal_hyperparameters_are_one_configuration() -> None:
    trials = tidy(
        [
            trial("gru-0", 0.9, hidden_size=8, clip=None, seed=1),
            trial("gru-1", 0.5, hidden_size=8, clip=None, seed=2),
            trial("gru-2", 0.8, hidden_size=16, clip=None, seed=3),
            trial("gru-3", 0.99, "pruned", hidden_size=16, clip=None, seed=4),
            trial("mlp-0", 0.6, seed=5),
            trial("rnn-0", None, "failed"),
        ]
    )
    best = differences.best_configurations(trials)
    assert {name: own["trial"].tolist() for name, own in best.items()} == {"gru": ["gru-2"], "mlp": ["mlp-0"]}
    assert differences.best_configurations(tidy([])) == {}


def test_the_representative_is_the_median() -> None:
    def place(*scores: float) -> int:
        return differences.representative(tidy(again("gru-0", i, score) for i, score in enumerate(scores)))

    assert place(0.9, 0.1, 0.5) == 2
    assert place(0.5) == 0
    assert place(0.4, 0.1, 0.2, 0.3) == 2  # of 0.2 and 0.3 the lower
    assert place(0.5, 0.5, 0.5) == 1


LABELS = "ab" * 50


def wrong(*places: int) -> str:
    return "".join("x" if place in places else label for place, label in enumerate(LABELS))


def test_differences_by_hand() -> None:
    """Of 100 texts the gru gets all, the rnn 80; McNemar of 20 against none: 2 / 2^20."""
    best = differences.best_configurations(tidy([trial("gru-0", 0.9), trial("rnn-0", 0.7), trial("mlp-0", 0.8)]))
    predictions = {
        "run-of-gru-0": predicted(LABELS, LABELS),
        "run-of-rnn-0": predicted(LABELS, wrong(*range(20))),
        "run-of-mlp-0": predicted(LABELS, wrong(0, 99)),
    }
    table = differences.differences(best, predictions)
    pair = {(row["first"], row["second"]): row for _, row in table.iterrows()}
    assert list(pair) == [("gru", "mlp"), ("gru", "rnn"), ("mlp", "rnn")]
    assert pair["gru", "rnn"]["difference"] == pytest.approx(0.2)
    assert pair["gru", "rnn"]["p"] == pytest.approx(2 / 2**20)
    assert pair["gru", "rnn"]["holm_p"] == pytest.approx(3 * 2 / 2**20)
    assert table["verdict"].tolist() == ["one seed"] * 3  # which of the models is better says p

    shown = differences.difference_tables(search(SEARCH), TRIALS, best, predictions, long=False)
    assert shown[0].frame.to_numpy().tolist() == [
        ["gru", "", "one seed", "one seed"],
        ["mlp", "one seed", "", "one seed"],
        ["rnn", "one seed", "one seed", ""],
    ]
    title = "one seed each: enough to compare these models, not the architectures"
    assert shown[0].title == f"{SEARCH}: {title}"
    assert any(f"python -m search confirm {SEARCH}" in note for note in shown[1].notes)
    # 18 of 100 texts: those that only the gru got right, of whom two make it no better than the mlp
    assert any("gru leads mlp on test" in note and "2 of 100 test texts" in note for note in shown[1].notes)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            predicted("ab", "ab"),
            "gru-0 of demo-.* and rnn-0 of demo-.* were not tested on the same texts, but on 100 and 2",
        ),
        (predicted("ba" * 50, LABELS), "not tested on the same texts: their labels differ"),
    ],
)
def test_other_texts_are_refused(answers: pd.DataFrame, message: str) -> None:
    best = differences.best_configurations(tidy([trial("gru-0", 0.9), trial("rnn-0", 0.7)]))
    predictions = {"run-of-gru-0": predicted(LABELS, LABELS), "run-of-rnn-0": answers}
    with pytest.raises(ValueError, match=message):
        differences.differences(best, predictions)


@pytest.mark.parametrize("form", tables.TEXTS)
@pytest.mark.parametrize("names", [[], ["gru-0"], ["gru-0", '=m,"lp|-1']], ids=["none", "one", "formula"])
def test_every_format_of_differences(form: str, names: list[str]) -> None:
    trials = tidy(trial(name, 0.5) for name in names)
    best = differences.best_configurations(trials)
    predictions = {f"run-of-{name}": predicted(LABELS, wrong(*range(10 * i))) for i, name in enumerate(names)}
    long = form in tables.FOR_PROGRAMS
    for table in differences.difference_tables(search(SEARCH), trials, best, predictions, long=long):
        assert tables.TEXTS[form](table)


# --- From MLflow


class Recorder:
    """Writes searches and trials with their predictions, as `search.tracking` does."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.client = MlflowClient(tracking_uri=self.uri)
        self.experiment = self.client.create_experiment("demo", (folder / "artifacts").as_uri())
        self.time = 1_767_261_600_000

    def search(self, id: str, baseline: str | None = None, **tags: str) -> None:
        self.id, self.baseline = id, baseline
        self._run({schema.KIND: schema.KIND_SEARCH, schema.SEARCH: id, schema.METRIC: "val_accuracy"} | tags)

    def trial(self, name: str, score: float, answers: str | None, **params: Any) -> str:
        tags = {schema.KIND: schema.KIND_TRIAL, schema.SEARCH: self.id, schema.TRIAL: name}
        if name.rpartition("-")[0] == self.baseline:
            tags[schema.BASELINE] = schema.IS_BASELINE
        run_id = self._run(tags | {schema.OUTCOME: "complete", schema.NUMBER: name.rpartition("-")[2]})
        metrics = {schema.best("val_accuracy"): score, "test_accuracy": score - 0.05}
        self.client.log_batch(
            run_id,
            metrics=[Metric(key, value, self.time, 1) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in params.items()],
        )
        if answers is not None:
            rows = "".join(f'"{label}","{answer}",0.5\n' for label, answer in zip(LABELS, answers, strict=True))
            self.client.log_text(run_id, f"label,predicted,probability of a\n{rows}", schema.PREDICTIONS)
        return run_id

    def _run(self, tags: Mapping[str, str]) -> str:
        self.time += 1000
        return str(self.client.create_run(self.experiment, start_time=self.time, tags=tags).info.run_id)


OLD, MOVED, ODD = "old-20260102-100000", "moved-20260103-100000", "odd-20251201-100000"
BASED, OWN = "based-20251201-110000", "own-20251201-090000"
PARTLY, ORPHAN = "partly-20251202-100000", "orphan-confirm-20251203-100000"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A search that was confirmed on three seeds, an old one without predictions, and one confirmed on other data."""
    recorder = Recorder(tmp_path_factory.mktemp("mlflow"))
    recorder.search(ODD)
    for text in ("label,probability\nNA,0.5\n", "label,predicted\nNA,null\n"):
        recorder.client.log_text(recorder.trial("gru-0", 0.5, None), text, schema.PREDICTIONS)
    recorder.search(OWN, data_digest="d1")
    for name, score in (("tfidf-0", 0.95), ("gru-0", 0.90)):
        recorder.trial(name, score, wrong(*range(5)), architecture=name[:-2], seed=7)
    recorder.search(BASED, baseline="majority", data_digest="d1")
    for name, score, places in (("majority-0", 0.95, 5), ("gru-0", 0.90, 10), ("gru-1", 0.5, 0)):
        recorder.trial(name, score, wrong(*range(places)), architecture=name[:-2], seed=7)
    recorder.search(PARTLY, data_digest="d1")
    recorder.trial("gru-0", 0.8, wrong(*range(20)), hidden_size=8)
    recorder.trial("rnn-0", 0.7, wrong(*range(50)), hidden_size=8)
    recorder.search("partly-confirm-20251202-110000", data_digest="d1", confirms=PARTLY)
    recorder.trial("gru-0", 0.8, wrong(*range(10)), hidden_size=8, configuration="gru-0", seed=1)
    recorder.search("partly-confirm-20251202-120000", data_digest="d1", confirms=PARTLY)
    recorder.search(ORPHAN, confirms="gone-20251203-090000")
    recorder.trial("gru-0", 0.8, wrong(*range(10)), hidden_size=8, configuration="gru-0", seed=1)
    recorder.search(SEARCH, data_digest="d1")
    recorder.trial("gru-0", 0.8, wrong(*range(30)), hidden_size=8)
    recorder.trial("gru-1", 0.9, wrong(*range(20)), hidden_size=16)
    recorder.trial("rnn-0", 0.7, wrong(*range(25)), hidden_size=8)
    recorder.search(OLD, data_digest="d1")
    recorder.trial("gru-0", 0.8, None, hidden_size=8)
    recorder.search(MOVED, data_digest="d1")
    recorder.trial("gru-0", 0.8, wrong(), hidden_size=8)
    recorder.search("moved-confirm-20260103-110000", data_digest="d2", confirms=MOVED)
    recorder.trial("gru-0", 0.8, wrong(), hidden_size=8, configuration="gru-0", seed=1)
    recorder.search(CONFIRM, data_digest="d1", confirms=SEARCH)
    for seed, score in enumerate([0.80, 0.84, 0.82]):
        params = {"configuration": "gru-1", "repetition": seed, "seed": seed, "hidden_size": 16}
        recorder.trial(f"gru-{seed}", score, wrong(*range(seed)), **params)
        params = {"configuration": "rnn-0", "repetition": seed, "seed": seed, "hidden_size": 8}
        recorder.trial(f"rnn-{seed}", score - 0.2, wrong(*range(30 + seed)), **params)
    return recorder.uri


def call(*arguments: str, uri: str) -> Any:
    return CliRunner().invoke(app, arguments, env={"MLFLOW_TRACKING_URI": uri})


def test_predictions_are_read_as_they_were_written(uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    trials = runs.read_trials(uri, SEARCH, OLD)
    found = runs.read_predictions(uri, trials["run_id"][0])
    assert found is not None
    assert list(found.columns) == ["label", "predicted", "probability of a"]
    assert "".join(found["label"]) == LABELS
    assert (found["label"] == found["predicted"]).sum() == 70
    assert runs.read_predictions(uri, trials["run_id"][3]) is None
    assert capfd.readouterr().err == ""  # MLflow would draw a progress bar


def test_predictions_that_cannot_be_read_and_classes_called_na(uri: str) -> None:
    broken, named = runs.read_trials(uri, ODD)["run_id"]
    with pytest.raises(ValueError, match=rf"test_predictions.csv of the run {broken} cannot be read"):
        runs.read_predictions(uri, broken)
    found = runs.read_predictions(uri, named)
    assert found is not None
    assert found.to_numpy().tolist() == [["NA", "null"]]


@pytest.mark.parametrize("asked", [SEARCH, CONFIRM, "latest"])
def test_the_leaderboard_begins_with_what_was_confirmed(uri: str, asked: str) -> None:
    shown = call("leaderboard", asked, uri=uri)
    assert shown.exit_code == 0, shown.stderr
    first = shown.stdout.splitlines()[0]
    assert (
        first.split("  ")[-1].strip() == "Best of all by validation accuracy, mean of 3 fresh seeds, is gru-1 (0.8200)."
    )
    title = next(line for line in shown.stdout.splitlines() if line.startswith(SEARCH))
    assert title == f"{SEARCH}: the best configurations on fresh seeds, by mean val_accuracy"
    assert ("the best of each architecture" in shown.stdout) == (asked == SEARCH)
    rows = json.loads(call("leaderboard", asked, "--confirmed", "--format", "json", uri=uri).stdout)
    assert [(row["trial"], row["seeds"], row["rank"]) for row in rows] == [("gru-1", 3, 1), ("rnn-0", 3, 2)]
    assert rows[0]["fall"] == pytest.approx(0.9 - 0.82)


def test_csv_holds_all_trials_unless_told_otherwise(uri: str) -> None:
    rows = list(csv.DictReader(io.StringIO(call("leaderboard", SEARCH, "--format", "csv", uri=uri).stdout)))
    assert [row["trial"] for row in rows] == ["gru-1", "gru-0", "rnn-0"]


def test_only_one_architecture_is_confirmed(uri: str) -> None:
    rows = json.loads(
        call("leaderboard", SEARCH, "--confirmed", "--architecture", "rnn", "--format", "json", uri=uri).stdout
    )
    assert [row["trial"] for row in rows] == ["rnn-0"]


@pytest.mark.parametrize("asked", [SEARCH, CONFIRM])
def test_the_differences_are_those_of_the_confirmed(uri: str, asked: str) -> None:
    (row,) = json.loads(call("differences", asked, "--format", "json", uri=uri).stdout)
    assert (row["first"], row["second"], row["verdict"]) == ("gru", "rnn", "gru")
    assert (row["first_seeds"], row["second_seeds"], row["num_texts"]) == (3, 3, 100)
    assert row["difference"] == pytest.approx(0.3)
    assert (row["only_first"], row["only_second"]) == (30, 0)  # seed 2 is the median of both


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["differences", OLD], "the predictions of gru-0 (run "),
        (
            ["leaderboard", OLD, "--confirmed"],
            f"nothing of {OLD} was confirmed yet; run: python -m search confirm",
        ),
        (["differences", SEARCH, "--rank-by", "test_f1"], "cannot rank by test_f1"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(uri: str, arguments: list[str], message: str) -> None:
    done = call(*arguments, uri=uri)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")
    assert len(done.stderr.splitlines()) == 1


def test_where_only_some_are_confirmed_the_others_are_those_of_the_search(uri: str) -> None:
    (row,) = json.loads(call("differences", PARTLY, "--format", "json", uri=uri).stdout)
    assert (row["first"], row["second"], row["difference"]) == ("gru", "rnn", pytest.approx(0.9 - 0.5))
    shown = " ".join(call("differences", PARTLY, uri=uri).stdout.split())
    assert "Confirmed on fresh seeds by partly-confirm-20251202-110000: gru." in shown
    assert "Not confirmed, so the best trial of the search, which is partly luck: rnn." in shown


def test_a_confirmation_without_its_origin_is_still_ranked(uri: str) -> None:
    done = call("leaderboard", ORPHAN, uri=uri)
    assert done.exit_code == 0, done.stderr
    assert f"\n{ORPHAN} confirms gone-20251203-090000, which is not recorded here\n" in done.stdout
    assert "0.8000" in done.stdout
    assert call("differences", ORPHAN, uri=uri).exit_code == 0


@pytest.mark.parametrize("asked", ["leaderboard", "differences"])
def test_a_confirmation_on_other_data_is_named(uri: str, asked: str) -> None:
    shown = " ".join(call(asked, MOVED, uri=uri).stdout.split())
    assert "Left out, on other data than moved-20260103-100000: moved-confirm-20260103-110000." in shown


# --- Baselines


def test_the_verdict_above_a_leaderboard(uri: str) -> None:
    """Chosen on validation: majority-0, which got 5 of 100 texts wrong, and gru-0 10; gru-1 got all right."""
    shown = call("leaderboard", BASED, uri=uri).stdout
    assert " ".join(shown.split()).startswith(
        "What won Best of all by validation accuracy is majority-0, a baseline (0.9500). Gain over the baseline gru-0, "
        "the best network, loses 5.0 points of test accuracy against the best baseline, majority-0"
    )
    assert call("leaderboard", BASED, "--format", "markdown", uri=uri).stdout.startswith(
        "- **What won**: Best of all by validation accuracy is maj"
    )
    assert call("leaderboard", BASED, "--format", "csv", uri=uri).stdout.startswith("rank,architecture,role,trial,")
    found = bakeoff.open(BASED, tracking_uri=uri)
    assert all(answer in " ".join(shown.split()) for _, answer in found.gain().answers)
    assert found.leaderboard()[["trial", "role"]].iloc[0].tolist() == ["majority-0", "baseline"]


def test_what_is_best_without_a_name_is_of_what_was_searched(uri: str) -> None:
    assert lookup.find(uri, BASED).name == "gru-0"
    assert lookup.find(uri, f"{BASED}:majority").name == "majority-0"
    assert [trial.name for trial in lookup.best_of_each(uri, runs.find_search(uri, BASED))] == ["gru-0"]


def test_somebodys_own_is_no_baseline_though_there_is_one_of_its_name_now(uri: str) -> None:
    assert lookup.find(uri, OWN).name == "tfidf-0"
    assert [trial.architecture for trial in lookup.best_of_each(uri, runs.find_search(uri, OWN))] == ["tfidf", "gru"]
    assert runs.read_trials(uri, OWN, BASED)["role"].tolist() == ["searched"] * 2 + ["baseline"] + ["searched"] * 2
    for command in ("leaderboard", "differences", "ledger"):
        done = call(command, OWN, uri=uri)
        assert done.exit_code == 0, done.stderr
        assert "tfidf" in done.stdout
        assert "baseline" not in done.stdout.replace("Gain over the baseline  Unknown: no baseline is complete.", "")


def test_an_export_says_that_a_baseline_is_better(uri: str) -> None:
    trials = lookup.read(uri, runs.find_search(uri, BASED))
    chosen, better = export.choose(trials, "val_accuracy", BASED)
    assert better is not None
    assert (chosen.name, better.name) == ("gru-0", "majority-0")
    chosen, better = export.choose(trials, "val_accuracy", BASED, "majority")
    assert (chosen.name, better) == ("majority-0", None)
    assert export.choose([each for each in trials if each is not chosen], "val_accuracy", BASED)[1] is None
