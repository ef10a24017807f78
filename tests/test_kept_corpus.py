"""The copy of the corpus that a search stores is equal to the corpus, and models work without the original file."""

import csv
import dataclasses
import io
import shutil
from pathlib import Path

import pytest
import torch

from analysis.explain import disagree, explainers, lookup
from data.encoded import EncodedCorpus
from search.run.confirm import trials_of
from search.run.folders import new_search
from search.serve import loading
from search.serve.selection import select
from search.spec import kept, read
from search.spec.read import SPEC_FILE, load_corpus, read_examples
from search.spec.spec import Spec
from search.study.ranking import order
from search.study.trial import Trial
from search.train import checkpoints
from tests.conftest import FinishedSearch, command

SPEC = {
    "architectures": ["mlp"],
    "vectors": "glove.6B.50d",
    "space": {},
    "epochs": 1,
    "trials": 1,
    "baselines": "none",
}


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((f"a good film {n}", "yes") for n in range(30))])
        csv.writer(file).writerows([*((f"a bad film {n}, naïve\nand long", "no") for n in range(30))])
    return path


def searched(csv_file: Path) -> tuple[Path, Spec, EncodedCorpus]:
    """The folder, spec and corpus of a search on this file, before its first trial."""
    spec = read.validate(SPEC | {"corpus": f"csv:{csv_file}"})
    folder = new_search(spec, csv_file.parent / "searches")
    checkpoints.prepare(folder, None)
    return folder, spec, load_corpus(spec)


def test_the_corpus_is_read_back_without_its_file(csv_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, spec, corpus = searched(csv_file)
    kept.keep(folder, spec, corpus)
    texts = {split: read_examples(spec, split) for split in kept.HELD_OUT}
    csv_file.unlink()
    monkeypatch.setenv("BAKEOFF_CACHE", str(folder / "none"))

    found = kept.corpus(folder)
    names = ("name", "digest", "classes", "vocabulary", "embedding_size", "num_duplicates")
    assert [getattr(found, name) for name in names] == [getattr(corpus, name) for name in names]
    assert found.vectors_VE is not None
    assert (found.vectors_VE == corpus.vectors_VE).all()
    for split in kept.HELD_OUT:
        before, now = getattr(corpus, split), getattr(found, split)
        assert (now.tokens_NT == before.tokens_NT).all()
        assert (now.labels_N == before.labels_N).all()
        assert kept.examples(folder, split) == texts[split]
    assert len(found.train) == 0  # training texts are not stored
    with pytest.raises(ValueError, match="no file"):
        load_corpus(spec)


def test_what_is_damaged_is_named_and_a_search_on_other_texts_keeps_those(csv_file: Path) -> None:
    folder, spec, corpus = searched(csv_file)
    kept.keep(folder, spec, corpus)
    place = folder / "checkpoints" / kept.FOLDER
    written = (place / kept.ENCODED).stat().st_mtime_ns
    kept.keep(folder, spec, corpus)
    assert (place / kept.ENCODED).stat().st_mtime_ns == written  # it is written only once

    flip(place / kept.ENCODED)
    with pytest.raises(ValueError, match=r"encoded.npz is damaged"):
        kept.corpus(folder)
    flip(place / "test.parquet")
    with pytest.raises(ValueError, match=r"the texts in .* are damaged"):
        kept.examples(folder, "test")

    with csv_file.open("a", encoding="utf-8") as file:
        file.writelines(f"one more bad film {n},no\n" for n in range(20))
    grown = load_corpus(spec)
    kept.keep(folder, spec, grown)
    assert kept.corpus(folder).digest == grown.digest != corpus.digest
    assert kept.examples(folder, "test") == read_examples(spec, "test")


def flip(path: Path) -> None:
    """Changes bytes in the middle of a file."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = bytes(byte ^ 0xFF for byte in content[middle : middle + 20])
    path.write_bytes(content)


def test_halves_of_surrogate_pairs_are_kept() -> None:
    examples = [("half \ud83d of a pair", 0), ("naïve", 1)]
    file = io.BytesIO()
    kept._write_parquet(file, examples, "d")
    assert kept._from_parquet(file.getvalue(), Path("here")) == examples


@pytest.fixture
def gone(smoke_search: FinishedSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the smoke search whose corpus was a file that is gone, and so is the cache."""
    folder = tmp_path / "searches" / smoke_search.id
    shutil.copytree(smoke_search.folder, folder, ignore=shutil.ignore_patterns("tune"))
    spec = (folder / SPEC_FILE).read_text(encoding="utf-8")
    assert "corpus: imdb\n" in spec
    (folder / SPEC_FILE).write_text(spec.replace("corpus: imdb\n", "corpus: csv:/gone/reviews.csv\n"), encoding="utf-8")
    monkeypatch.setenv("BAKEOFF_CACHE", str(tmp_path / "none"))
    return folder


def trials_in(folder: Path, search: FinishedSearch) -> list[Trial]:
    """The trials of a search, moved to its copy in this folder."""
    return [dataclasses.replace(trial, folder=folder) for trial in trials_of(search.folder, search.folder.parent)]


def test_models_are_read_compared_and_explained_without_the_file(gone: Path, smoke_search: FinishedSearch) -> None:
    texts = ["a good film", "the worst of all"]
    trials = sorted(trials_in(gone, smoke_search), key=order("val_accuracy"))
    best = {trial.architecture: trial for trial in reversed(trials)}
    before = loading.load(lookup.find(smoke_search.uri, "latest"))
    now = loading.load(best[before.architecture])
    assert torch.equal(now.outputs(texts), before.outputs(texts))

    selection = select(trials, gone, 2)
    assert len(selection.steps) == 2
    models = disagree.load_all([best["gru"], best["mlp"]])
    reading = disagree.read([best["gru"], best["mlp"]], models)
    assert len(reading.texts) == len(kept.corpus(gone).test)
    (explained,) = explainers.of(best["gru"]).explain_all(best["gru"], texts[:1], [])
    assert explained.words == ["a", "good", "film"]


def test_an_older_search_reads_its_corpus_again(gone: Path, smoke_search: FinishedSearch) -> None:
    shutil.rmtree(gone / "checkpoints" / kept.FOLDER)
    (trial, *_) = trials_in(gone, smoke_search)
    with pytest.raises(ValueError, match=r"no file /gone/reviews.csv"):
        loading.load(trial)


@pytest.mark.slow
def test_every_command_works_without_the_file_or_says_in_a_line_that_it_needs_it(csv_file: Path) -> None:
    cwd = csv_file.parent

    def run(*arguments: str | Path) -> str:
        done = command(*map(str, arguments), cwd=cwd, BAKEOFF_CACHE=str(cwd / "cache"))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(*arguments: str) -> str:
        done = command(*arguments, cwd=cwd, BAKEOFF_CACHE=str(cwd / "cache"))
        assert done.returncode == 2, done.stdout + done.stderr
        return done.stderr

    sets = ["corpus=csv:mine.csv", "architectures=[mlp, gru]", "epochs=1", "trials=1", "baselines=none", "name=mine"]
    run("search", "run", "smoke", *(part for each in sets for part in ("--set", each)), "--set", "limit=null")
    csv_file.unlink()
    shutil.rmtree(cwd / "cache")
    (cwd / "texts.csv").write_text("text\na good film\n", encoding="utf-8")
    run("search", "export", "mine")
    run("search", "export", "mine", "--ensemble", "2")
    assert "a good film" in run("analysis", "predict", "mine", "--csv", "texts.csv")
    assert "film" in run("analysis", "explain", "mine:gru", "a good film")
    run("analysis", "disagree", "mine")
    run("analysis", "inspect", "mine")
    for arguments in (("replay", "mine:gru-0"), ("resume", "mine", "--trials", "2"), ("confirm", "mine")):
        assert refused("search", *arguments).startswith(f"error: {arguments[0]} needs the texts")
