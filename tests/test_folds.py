"""Cross-validation: the best of each architecture, and the baselines, over folds that test every text once."""

import csv
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import command
from hypothesis import given
from hypothesis import strategies as st
from test_analysis_confirmation import CONFIRM, SEARCH, TRIALS, again, search
from test_groups import GROUPS, TIMES, rows, texts_of
from test_search_confirm import POINTS, finished

import data
from analysis.base.runs import tidy
from analysis.boards import confirmation
from analysis.verdicts import differences, tested
from bakeoff import api
from data.base.errors import UserError
from data.base.folding import Fold
from data.base.reading import USUAL, Reading
from data.base.splitting import split_examples
from data.base.texts import SPLITS, Texts
from search.base.schema import Outcome
from search.run import plan, plan_folds
from search.run.confirm import begun
from search.run.confirm import confirmation as confirm
from search.run.folders import new_search
from search.spec import read as specs
from search.spec.spec import Spec
from search.study import ranking
from search.study.studies import Studies
from search.study.trial import Trial

FOLDS = Fold.all(5)


def splits_of(texts: Texts, fold: Fold | None, reading: Reading = USUAL, **more: Any) -> dict[str, list[str]]:
    found = split_examples(texts, name="mine", limit=more.get("limit"), reading=reading, fold=fold)
    return {split: [text for text, _ in examples] for split, examples in found.splits.items()}


# --- The texts


@given(rows, st.sampled_from([None, 60]), st.booleans())
def test_each_text_is_tested_once_and_no_group_is_in_two_parts(
    rows: list[tuple[int, int, int]], limit: int | None, groups: bool
) -> None:
    texts, reading = texts_of(rows, list(range(len(rows))), groups=groups), GROUPS if groups else USUAL
    try:
        usual = splits_of(texts, None, reading, limit=limit)
        folds = [splits_of(texts, fold, reading, limit=limit) for fold in FOLDS]
    except UserError:  # there are too few of a class, or of groups
        return
    everything = sorted(text for split in SPLITS for text in usual[split])
    assert sorted(text for fold in folds for text in fold["test"]) == everything
    for fold, after in zip(folds, [*folds[1:], folds[0]], strict=True):
        assert sorted(text for split in SPLITS for text in fold[split]) == everything
        assert set(fold["val"]) == set(after["test"])
        found = {split: {texts.group_of.get(text, text) for text in fold[split]} for split in SPLITS}
        assert sum(map(len, found.values())) == len(set().union(*found.values()))


def test_parts_have_the_same_size_and_the_classes_shares() -> None:
    texts = Texts(("a", "b", "c"), [(f"text {place}", min(2, place % 7)) for place in range(701)])
    label_of = dict(texts.examples)
    folds = [splits_of(texts, fold)["test"] for fold in FOLDS]
    assert {len(fold) for fold in folds} == {140, 141}
    for fold in folds:
        counts = Counter(label_of[text] for text in fold)
        assert [counts[label] for label in range(3)] == pytest.approx([20, 20, 100], abs=1)


def test_texts_that_cannot_be_divided_so_are_refused_in_a_line() -> None:
    order = [(place % 2, place // 3, place) for place in range(120)]
    official = [("a test text", 0), ("another one", 0), ("a third", 1), ("a fourth", 1)]
    own_split = Texts(("a", "b"), texts_of(order, list(range(120))).examples, test_examples=official)
    few = Texts(("a", "b"), [(f"text {place}", int(place < 15)) for place in range(100)])
    for texts, reading, fold, words in [
        (texts_of(order, list(range(120)), times=True), TIMES, FOLDS[0], ["folds: with time_column", "--seeds"]),
        (own_split, USUAL, FOLDS[0], ["folds: mine comes with a validation or test split"]),
        (
            few,
            USUAL,
            Fold(1, 10),
            ["class 'b' of mine has 15 texts, too few for 2 in each of 10 parts; use fewer folds"],
        ),
    ]:
        with pytest.raises(UserError) as error:
            splits_of(texts, fold, reading)
        assert all(word in str(error.value) for word in words), error.value
        assert "\n" not in str(error.value)


def test_the_vocabulary_is_of_the_training_texts_of_the_fold(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([("text", "label"), *((f"word{n} word{n}", "ab"[n % 2]) for n in range(60))])
    digests = set()
    for fold in (None, *FOLDS):
        encoded = data.load(str(file), embeddings="learned", fold=fold, cache=tmp_path / "cache", progress=False)
        read = data.read(str(file), fold=fold, progress=False).splits
        assert {text.split()[0] for text, _ in read["train"]} == {*encoded.vocabulary[2:]}
        assert len(encoded.test) == len(read["test"]) == (12 if fold else 6)
        digests.add(encoded.digest)
    assert len(digests) == 6


# --- What is said of them

FOLDED = tidy(
    again(name, 5 * place + number, score, test_accuracy=score - 0.1, fold=str(fold))
    for place, name in enumerate(["gru-0", "rnn-1"])
    for number, (fold, score) in enumerate(zip(FOLDS, [0.7, 0.72, 0.74, 0.76, 0.78], strict=True))
)


def test_the_interval_over_folds_is_wider_than_that_over_seeds() -> None:
    table = confirmation.confirmed(TRIALS, FOLDED).set_index("trial")
    assert table["folds"].to_dict() == {"gru-0": 5, "rnn-1": 5}
    # standard deviation 0.0316, t(0.975, 4) = 2.7764; a test part has a third of the training texts
    half = 2.7764 * np.std([0.7, 0.72, 0.74, 0.76, 0.78], ddof=1) * np.sqrt(1 / 5 + 1 / 3)
    low, high = table.loc["gru-0", ["val_accuracy_low", "val_accuracy_high"]]
    assert (low, high) == pytest.approx((0.74 - half, 0.74 + half), abs=1e-5)
    shown = confirmation.confirmation_table(search(SEARCH), [search(CONFIRM)], TRIALS, FOLDED)
    assert shown.title == f"{SEARCH}: the best configurations over 5 folds, by mean val_accuracy"
    assert "training texts overlap" in shown.notes[1]


def test_a_text_is_judged_by_the_model_of_the_fold_that_tests_it() -> None:
    def predictions(wrong: dict[str, int]) -> dict[str, pd.DataFrame]:
        """Predictions for four texts per fold, with this number of errors in each fold."""
        labels = ["a", "b", "a", "b"]
        found = {}
        for run_id, num in wrong.items():
            said = [{"a": "b", "b": "a"}[label] if place < num else label for place, label in enumerate(labels)]
            found[run_id] = pd.DataFrame({"label": labels, "predicted": said})
        return found

    best = differences.best_configurations(FOLDED)
    assert set(best) == {"gru", "rnn"}
    shuffled = best["gru"].sample(frac=1, random_state=1)  # trials end in any order
    (model,) = tested.models(shuffled)
    assert model["fold"].tolist() == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    said = predictions({run_id: number for number, run_id in enumerate(model["run_id"])})
    assert differences.correct(shuffled, said).tolist() == [
        [place >= number for number in range(5) for place in range(4)]
    ]
    said |= predictions(dict.fromkeys(best["rnn"]["run_id"], 0))
    (pair,) = differences.differences(best, said).to_dict("records")
    assert pair["difference"] == pytest.approx(-0.5)
    with pytest.raises(UserError, match=r"gru-0 has no result on fold 2/5 in demo-confirm"):
        tested.models(best["gru"][best["gru"]["fold"] != "2/5"])


def test_a_model_of_all_texts_stands_for_what_was_best_over_folds() -> None:
    def made(number: int, score: float, **more: Any) -> Trial:
        return Trial(
            architecture="gru",
            number=number,
            search=more.pop("search", SEARCH),
            folder=Path(),
            metric="val_accuracy",
            outcome=Outcome.COMPLETE,
            best={"val_accuracy": score},
            seed=number,
            **more,
        )

    own = [made(0, 0.7), made(1, 0.8), made(2, 0.9)]
    folds = [
        made(number, score, search=CONFIRM, configuration=name, fold=str(Fold(number % 3 + 1, 3)))
        for number, (name, score) in enumerate([*[("gru-1", 0.95)] * 3, *[("gru-2", 0.5)] * 3])
    ]
    seeds = [made(7, 0.99, search="another", configuration="gru-2")]
    found = ranking.candidates([*own, *folds, *seeds], "val_accuracy", SEARCH)
    assert [(each.search, each.name) for each in found[:2]] == [(SEARCH, "gru-1"), (SEARCH, "gru-2")]
    assert all(each.fold is None for each in found)


def test_several_seeds_on_each_fold_are_one_value_of_that_fold() -> None:
    """The interval for fifteen models on five folds is that of five values, not of fifteen."""
    more = pd.concat(
        [FOLDED.assign(val_accuracy=FOLDED["val_accuracy"] + shift, seed=FOLDED["seed"] + 100 * place)
         for place, shift in enumerate([-0.01, 0.0, 0.01])],
        ignore_index=True,
    )  # fmt: skip
    once, thrice = (confirmation.confirmed(TRIALS, each).iloc[0] for each in (FOLDED, more))
    assert (once["folds"], once["models"]) == (5, 5)
    assert (thrice["folds"], thrice["models"]) == (5, 15)
    for column in ("val_accuracy_mean", "val_accuracy_low", "val_accuracy_high"):
        assert thrice[column] == pytest.approx(once[column])
    shown = confirmation.confirmation_table(search(SEARCH), [search(CONFIRM)], TRIALS, more)
    assert "which have different seeds" in shown.notes[1]


def test_an_unfinished_confirmation_over_more_folds_hides_no_finished_one() -> None:
    def made(count: int, architecture: str, numbers: Iterable[int], of: str) -> list[Trial]:
        return [
            Trial(
                architecture=architecture,
                number=number,
                search=of,
                folder=Path(),
                metric="val_accuracy",
                outcome=Outcome.COMPLETE,
                configuration=f"{architecture}-0",
                fold=str(Fold(number, count)),
            )
            for number in numbers
        ]

    five = made(5, "gru", range(1, 6), "five") + made(5, "rnn", range(1, 6), "five")
    begun_ten = made(10, "gru", range(1, 8), "ten")
    assert ranking.of_most_folds(five + begun_ten) == five
    half_ten = made(10, "gru", range(1, 11), "ten") + made(10, "rnn", range(1, 4), "ten")
    assert ranking.of_most_folds(five + half_ten) == five  # the rnn has not finished
    ten = made(10, "gru", range(1, 11), "ten") + made(10, "rnn", range(1, 11), "ten")
    assert ranking.of_most_folds(five + ten) == ten
    assert ranking.of_most_folds(begun_ten) == begun_ten  # all that are available
    seeds = [replace(each, fold=None) for each in made(3, "gru", range(1, 4), "seeds")]
    assert ranking.of_most_folds(begun_ten + seeds) == []


# --- The search


def write_few(path: Path, **texts: int) -> str:
    """Writes a file with this number of texts per class."""
    rows = [(f"{label} {number}", label) for label, num in texts.items() for number in range(num)]
    with path.open("w", newline="") as out:
        csv.writer(out).writerows([("text", "label"), *rows])
    return str(path)


def test_folds_for_which_a_class_is_too_small_are_refused_before_the_search(tmp_path: Path) -> None:
    few = write_few(tmp_path / "few.csv", a=60, b=18)
    for folds, words in [(8, None), (10, "folds: class 'b' of .* has 18 texts, too few for 2 in each of 10 parts")]:
        spec = specs.validate({"corpus": few, "folds": folds})
        specs.load_corpus(spec)  # the ordinary division has enough
        with pytest.raises(UserError, match=words) if words else nullcontext():
            specs.require_folds(spec)


def test_a_plan_counts_what_is_trained_over_folds_afterwards(tmp_path: Path) -> None:
    few = write_few(tmp_path / "few.csv", a=100, b=100)
    keys = {"corpus": few, "folds": 5, "architectures": ["mlp", "gru"], "baselines": ["tfidf"], "epochs": 3}
    spec = specs.validate(keys | {"reports_per_epoch": 1})
    corpus = specs.load_corpus(spec)
    cost = {name: plan.Cost(2.0, 3.0, 0, 1e6, 10) for name in spec.studied}
    found = plan_folds.predict(spec, corpus, cost, concurrency=1, start_seconds=4.0)
    assert found is not None
    assert found.num_trials == 15
    # three reports of a network and one of a baseline, on 120 texts and not on 160
    assert found.trial_seconds == pytest.approx(5 * (2 * (2 + 2 + 3) + 3) * 120 / 160)
    assert found.wall_seconds == pytest.approx(found.trial_seconds + 4)
    assert plan_folds.predict(spec.model_copy(update={"folds": None}), corpus, cost, 1, 4.0) is None
    search = plan.predict(spec, dict.fromkeys(spec.studied, 2), cost, 1, 4.0)
    told = "\n".join(plan_folds.lines(found, search))
    assert "15 trials" in told
    assert "in all" in told


def test_a_confirmation_made_by_hand_is_not_taken_for_the_searchs_own(tmp_path: Path) -> None:
    spec = specs.validate(POINTS | {"architectures": ["rnn", "mlp"], "folds": 5})
    folder = finished(tmp_path, spec)
    asked = confirm(folder, None, None, [], 5)
    by_hand = [
        confirm(folder, None, None, ["mlp"], 5),
        confirm(folder, None, 2, [], 5),
        confirm(folder, 2, None, [], 5),
    ]
    for each in (*by_hand, confirm(folder, None, None, [], 3)):
        new_search(each, tmp_path)
    assert begun(folder, asked) is None
    own = new_search(asked, tmp_path)
    assert begun(folder, asked) == own
    thrice = confirm(folder, None, 3, [], 5)
    assert Studies("again", thrice, tmp_path).num_wanted("mlp") == 15


def test_a_spec_asks_for_folds_and_old_ones_do_not() -> None:
    assert specs.validate({"folds": 5}, files=False).folds == 5
    assert Spec().folds is None
    assert not Spec(folds=5).cross_validated  # a search uses the ordinary division
    for wrong, words in [
        ({"folds": 2}, "greater than or equal to 3"),
        ({"folds": 5, "time_column": "date"}, "folds: with time_column a model may not learn from texts"),
    ]:
        with pytest.raises(UserError, match=words):
            specs.validate(wrong, files=False)


@pytest.mark.slow
def test_a_search_ends_with_its_folds_which_are_resumed_audited_and_replayed(tmp_path: Path) -> None:
    words = {"good": "great fine lovely", "bad": "awful dull poor"}
    with (tmp_path / "mine.csv").open("w", newline="") as out:
        rows = [(f"{words[label]} {n} {n % 7}", label) for n in range(60) for label in words]
        csv.writer(out).writerows([("text", "label"), *rows])
    keys = ["architectures=[mlp]", "baselines=[tfidf]", "epochs=1", "reports_per_epoch=1", "trials=1", "folds=3"]
    sets = [part for key in (*keys, "vectors=glove.6B.50d", "max_words=10") for part in ("--set", key)]
    done = command("search", "run", "mine.csv", *sets, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mean over 3 folds" in done.stdout
    assert "the best configurations over 3 folds" in done.stdout
    first, second = sorted((tmp_path / "searches").iterdir(), key=lambda each: "folds" in each.name)
    assert begun(first, confirm(first, None, None, [], 3)) == second
    found = api.open(second.name, searches=tmp_path / "searches", tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    trials = found.trials()
    assert sorted(zip(trials["architecture"], trials["fold"], strict=True)) == sorted(
        (name, f"{number}/3") for name in ("mlp", "tfidf") for number in (1, 2, 3)
    )
    for args in (["audit", second.name], ["replay", f"{second.name}:mlp-1"], ["resume", first.name]):
        done = command("search", *args, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len([*(tmp_path / "searches").iterdir()]) == 2  # nothing was left to do
    with pytest.raises(UserError, match="folds train every baseline anyway; leave tfidf out"):
        confirm(first, None, None, ["tfidf"], 3)
    done = command("analysis", "differences", first.name, cwd=tmp_path)
    assert "on the same 120 test texts" in done.stdout, done.stdout + done.stderr
    best = api.open(first.name, searches=tmp_path / "searches", tracking_uri=found.tracking_uri).best("mlp")
    assert (best.search, best.name, best.fold) == (first.name, "mlp-0", None)
