"""Learning curves over shares of the training texts: the shares, the search over them, and the fitted power law."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import FinishedSearch, command
from test_search_confirm import finished
from test_search_studies import HERE, epoch_result

import data
from analysis.base import runs
from analysis.base.power_law import gain_of_doubling
from analysis.verdicts import data_size
from data.base.errors import UserError
from data.encoded import TEXTS, EncodedCorpus
from search.base import schema
from search.base.schema import Outcome
from search.run import sizes
from search.run.folders import new_search
from search.run.run import _require_same_data
from search.run.setting import make_setting
from search.spec import read as specs
from search.spec.read import read_spec
from search.study.studies import Studies
from search.track.tracking import Tracker
from search.train.running import run_trial

# --- Shares of texts


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> EncodedCorpus:
    """300 texts of one class and 60 of another; the last word of a text is its number."""
    path = tmp_path_factory.mktemp("corpus") / "texts.csv"
    rows = [
        f"{'good' if number % 6 else 'bad'} word{number},{'ham' if number % 6 else 'spam'}" for number in range(360)
    ]
    path.write_text("\n".join(["text,label", *rows]))
    return data.load(f"csv:{path}", embeddings="learned", texts=True, progress=False)


def test_a_share_is_the_first_texts_of_each_class_and_part_of_a_larger_one(corpus: EncodedCorpus) -> None:
    everything = list(corpus.train.arrays[TEXTS])
    smaller: set[str] = set()
    for share in (1 / 8, 1 / 4, 1 / 2):
        train = corpus.first_share(share).train
        texts = list(train.arrays[TEXTS])
        expected = {label: int(np.ceil(num * share)) for label, num in Counter(corpus.train.labels_N.tolist()).items()}
        assert Counter(train.labels_N.tolist()) == expected
        assert texts == [text for text in everything if text in {*texts}]  # in the original order
        assert smaller < {*texts}
        places = [everything.index(text) for text in texts]
        assert np.array_equal(train.tokens_NT, corpus.train.tokens_NT[places][:, : train.tokens_NT.shape[1]])
        smaller = {*texts}
    assert set(corpus.first_share(1e-6).train.labels_N) == {0, 1}  # at least one per class
    whole = corpus.first_share(0.5)
    assert (whole.val, whole.test, whole.vocabulary) == (corpus.val, corpus.test, corpus.vocabulary)
    assert corpus.first_share(1.0) is corpus


@pytest.mark.parametrize("architecture", ["mlp", "tfidf"])
def test_a_trial_learns_from_its_share_and_from_no_more(
    corpus: EncodedCorpus, architecture: str, tmp_path: Path
) -> None:
    spec = specs.validate({"architectures": ["mlp"], "baselines": ["tfidf"], "embeddings": "learned", "epochs": 1})
    config = {schema.ARCHITECTURE: architecture, schema.SEED: 1}
    config |= {key: values.ends()[0] for key, values in spec.of(architecture).spaces[architecture].items()}
    setting = make_setting(spec, tmp_path)
    (part,) = run_trial(config | {schema.TRAIN_SHARE: 0.25}, corpus, setting)
    (same,) = run_trial(config, corpus.first_share(0.25), setting)
    (whole,) = run_trial(config, corpus, setting)
    assert part.best == same.best
    assert part.best != whole.best


def test_a_share_is_a_key_of_configurations_only() -> None:
    own = {"architectures": ["mlp"], "sampler": "grid", "pruner": "none", "baselines": "none"}
    spec = specs.validate(own | {"configurations": {"mlp": {"few": {"train_share": 0.25}}}})
    assert (spec.points["mlp"]["few"]["train_share"], spec.smallest_share) == (0.25, 0.25)
    for wrong in (0, 1.5, "half"):
        with pytest.raises(UserError, match=r"configurations.mlp.few.train_share must be a number from"):
            specs.validate(own | {"configurations": {"mlp": {"few": {"train_share": wrong}}}})
    with pytest.raises(UserError, match="train_share"):
        specs.validate({"architectures": ["mlp"], "space": {"train_share": 0.5}})


# --- The search


def test_the_best_model_and_baseline_are_trained_on_each_share(tmp_path: Path) -> None:
    spec = specs.validate(
        {"sampler": "grid", "pruner": "none", "epochs": 1, "space": {"hidden_size": [8, 16]}}
        | {"architectures": ["rnn", "mlp"], "baselines": ["majority", "tfidf"], "max_words": {"rnn": 50, "mlp": 80}}
    )
    folder = new_search(spec, tmp_path)
    studies = Studies(folder.name, spec, folder, "new")
    while trial := studies.ask():
        score = {"mlp": 0.7, "tfidf": 0.65, "rnn": 0.6, "majority": 0.5}[trial.architecture]
        studies.report(trial, epoch_result(1, score + trial.number / 100), HERE)
    again, budget = sizes.of_sizes(folder, seeds=3)
    assert (again.name, again.sizes_of, again.studied) == ("search-sizes", folder.name, ["tfidf", "mlp"])
    best = {name: max(studies.trials(name), key=lambda trial: trial.score or 0) for name in again.studied}
    for name, trial in best.items():
        points = {key: dict(point) for key, point in again.points[name].items()}
        assert [point.pop("train_share") for point in points.values()] == [0.125, 0.25, 0.5, 1.0]
        assert list(points.values()) == [trial.hyperparameters] * 4
        assert list(points) == [f"{trial.name} on {share}" for share in ("1/8", "1/4", "1/2", "all")]
    assert again.largest_batch == 32
    assert specs.validate(again.model_dump(), files=False) == again
    second = Studies("search-sizes-20260101-000000", again, tmp_path, "new")
    trials = []
    while trial := second.ask():
        trials.append(trial)
        second.report(trial, epoch_result(1, 0.5), HERE)
    assert Counter((each.architecture, each.config["train_share"]) for each in trials) == {
        **{("mlp", share): 3 for share in (0.125, 0.25, 0.5, 1.0)},
        **{("tfidf", share): 1 for share in (0.125, 0.25, 0.5, 1.0)},
    }
    assert trials[0].params["train_share"] in (0.125, 0.25, 0.5, 1.0)  # MLflow has it as well
    assert budget == [
        f"{best['mlp'].name} on 1/8, 1/4, 1/2 and all of the training texts, 3 seeds each",
        f"{best['tfidf'].name} on 1/8, 1/4, 1/2 and all of the training texts, 1 seed each",
        "About 8 s of training, if trials are as fast as before",  # of 1 s each
    ]


def test_what_is_a_repetition_itself_is_not_repeated(tmp_path: Path) -> None:
    own = {"sampler": "grid", "pruner": "none", "epochs": 1, "baselines": "none", "architectures": ["mlp"]}
    folder = finished(tmp_path, specs.validate(own | {"space": {"hidden_size": [8]}}))
    again = new_search(sizes.of_sizes(folder, 2)[0], tmp_path)
    with pytest.raises(UserError, match=f"repeats trials of {folder.name}; give that search"):
        sizes.of_sizes(again, 2)
    studies = Studies(again.name, read_spec(again), again, "new")
    studies.provenance = {"data_digest": "another"}
    with pytest.raises(UserError, match="have changed since the search was started"):
        _require_same_data(studies, again)
    empty = new_search(specs.validate(own), tmp_path)
    Studies(empty.name, read_spec(empty), empty, "new")
    with pytest.raises(UserError, match="no complete trial to train again"):
        sizes.of_sizes(empty, 2)


# --- What it says


def test_the_law_finds_what_it_was_made_by() -> None:
    texts = np.array([1000, 2000, 4000, 8000])
    scores = 0.9 - 0.2 * (texts / 8000) ** -0.5
    expected = 0.2 * (1 - 2**-0.5)
    exact = gain_of_doubling(texts, scores, [0] * 4, [1] * 4, np.random.default_rng(0), 1.0)
    assert exact is not None
    assert exact.value == pytest.approx(expected, abs=0.002)
    noisy = gain_of_doubling(texts, scores, [0.01] * 4, [3] * 4, np.random.default_rng(0), 1.0)
    assert noisy is not None
    assert 0 <= noisy.low < expected < noisy.high < 0.2


def test_a_flat_curve_and_one_near_the_best_gain_next_to_nothing() -> None:
    texts = [1000, 2000, 4000, 8000]
    for scores in ([0.8, 0.8, 0.8, 0.8], [0.82, 0.81, 0.81, 0.8], [0.99, 0.997, 0.999, 1.0]):
        gain = gain_of_doubling(texts, scores, [0] * 4, [1] * 4, np.random.default_rng(0), 1.0)
        assert gain is not None
        assert gain.value < 0.001
    assert gain_of_doubling([1, 2, 4], [0.1, 0.2, 0.3], [0] * 3, [1] * 3, np.random.default_rng(0), 1.0) is None


def recorded(*rows: tuple[str, float, str, list[float]], metric: str = "test_accuracy") -> pd.DataFrame:
    """Trials of (architecture, share, role, scores over seeds)."""
    return runs.tidy(
        {
            "trial": f"{name}-{number}",
            "architecture": name,
            "role": role,
            "outcome": Outcome.COMPLETE.value,
            "train_share": share,
            metric: score,
        }
        for name, share, role, scores in rows
        for number, score in enumerate(scores)
    )


RISING = [(share, [0.9 - 0.1 * share**-0.5 + more for more in (-0.002, 0, 0.002)]) for share in (0.125, 0.25, 0.5, 1.0)]


def test_the_curves_and_what_twice_the_labels_would_bring() -> None:
    trials = recorded(
        *(("gru", share, "searched", scores) for share, scores in RISING),
        *(("tfidf", share, "baseline", [0.8]) for share, _ in RISING),
    )
    frame = data_size.curves(trials, 4000, "test_accuracy")
    assert frame["architecture"].tolist() == ["gru"] * 4 + ["tfidf"] * 4
    assert frame["texts"].tolist() == [500, 1000, 2000, 4000] * 2
    assert frame["seeds"].tolist() == [3] * 4 + [1] * 4
    assert frame["test_accuracy_mean"].iloc[3] == pytest.approx(0.8)
    half = 4.303 * 0.002 / 3**0.5  # Student's t of two degrees of freedom
    assert frame["test_accuracy_high"].iloc[3] == pytest.approx(0.8 + half, abs=1e-5)
    gru, tfidf, fitted = data_size.outlook(frame, "test_accuracy")
    assert gru.startswith("gru: more labels would help: twice the labels (8,000 texts) would bring 2.9 points more")
    assert tfidf.startswith("tfidf: more labels would hardly help (less than 0.5 points)")
    assert "to at most twice the texts" in fitted


def test_a_loss_that_falls_is_a_gain_and_half_a_curve_says_nothing() -> None:
    losses = [("gru", share, "searched", [1 - score for score in scores]) for share, scores in RISING]
    frame = data_size.curves(recorded(*losses, metric="test_loss"), 4000, "test_loss")
    (gru, _) = data_size.outlook(frame, "test_loss")
    assert gru.startswith("gru: twice the labels (8,000 texts) would bring 0.029 less test loss (95 % interval 0.02")
    assert [*data_size.outlook(frame[:3], "test_loss")] == [
        "There are too few numbers of texts yet to estimate the gain from more labels."
    ]


def test_the_newest_on_the_same_texts_counts(tmp_path: Path) -> None:
    own = {"sampler": "grid", "pruner": "none", "epochs": 1, "baselines": "none", "architectures": ["mlp"]}
    folder, uri = finished(tmp_path, specs.validate(own)), f"sqlite:///{tmp_path / 'mlflow.db'}"
    Tracker(uri, Studies(folder.name, read_spec(folder), folder)).close(Outcome.COMPLETE)
    origin = runs.find_search(uri, folder.name)
    with pytest.raises(UserError, match=f"run: python -m search train-sizes {folder.name}"):
        data_size.read(uri, origin)
    again = new_search(sizes.of_sizes(folder, 1)[0], tmp_path)
    Tracker(uri, Studies(again.name, read_spec(again), again, "new")).close(Outcome.COMPLETE)
    found = data_size.find(runs.searches(uri), origin)
    assert found is not None
    assert found.id == again.name
    assert data_size.find([], found) is found


@pytest.mark.slow
def test_more_labels_from_the_command_line(smoke_search: FinishedSearch, tmp_path: Path) -> None:
    (tmp_path / "searches").mkdir()
    (tmp_path / "searches" / smoke_search.id).symlink_to(smoke_search.folder)
    # The newest search of the smoke search's own database stays itself, for other tests.
    shutil.copy(smoke_search.cwd / "mlflow.db", tmp_path)
    (tmp_path / "mlartifacts").symlink_to(smoke_search.cwd / "mlartifacts")
    done = command("search", "train-sizes", smoke_search.id, "--seeds", "2", cwd=tmp_path, BAKEOFF_REPORT="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1/8, 1/4, 1/2 and all of the training texts, 2 seeds each" in done.stdout
    assert "twice the labels (1,280 texts)" in " ".join(done.stdout.split())
    assert "twice the labels (1,280 texts)" in (smoke_search.folder / "report" / "index.html").read_text()
    shown = command("analysis", "data-size", smoke_search.id, "--figure", "sizes.png", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert (tmp_path / "sizes.png").read_bytes().startswith(b"\x89PNG")
    audited = command("search", "audit", cwd=tmp_path)
    assert audited.returncode == 0, audited.stdout
