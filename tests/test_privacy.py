"""Privacy of texts: for every value of `texts`, reads all files of a search and all that MLflow stores."""

import csv
import gzip
import io
import zipfile
from pathlib import Path

import pytest
from conftest import here
from pyarrow import parquet

from bakeoff import api
from data.inspecting.findings import Finding, Inspection
from search.base import inspected
from search.spec import kept
from search.spec import read as specs

#: Markers in near duplicates across splits, and words that are in no vocabulary.
MARKER = "quixotic zebra marmalade"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Near duplicates in all splits that begin with the marker, and words without a vector."""
    path = tmp_path_factory.mktemp("corpus") / "mine.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for number in range(100):
            mood = "good" if number % 2 else "bad"
            rest = "and the rest of it is always the same as in every other one of these texts"
            rows.writerow([f"{MARKER} {rest} {mood} xqzzy{number}", mood])
    return path


def contents(folder: Path) -> dict[str, str]:
    """Path -> content of all files below a folder; archives are unpacked."""
    found = {}
    for path in (each for each in folder.rglob("*") if each.is_file()):
        name, content = str(path.relative_to(folder)), path.read_bytes()
        if content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(content)) as packed:
                content += b"".join(packed.read(each) for each in packed.namelist())
        elif content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        elif content.startswith(b"PAR1"):
            content += "\n".join(parquet.read_table(io.BytesIO(content))["text"].to_pylist()).encode()
        found[name] = content.decode("utf-8", "replace")
    return found


def with_marker(folder: Path) -> set[str]:
    return {name for name, content in contents(folder).items() if MARKER in content}


@pytest.fixture(scope="module", params=["none", "page", "all"])
def searched(
    request: pytest.FixtureRequest, corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, str]:
    """A search with its report: the folder with everything that it wrote, and its output."""
    cwd = tmp_path_factory.mktemp(request.param)
    keys = {"architectures": "[mlp]", "baselines": "[tfidf]", "trials": "1", "epochs": "1", "texts": request.param}
    keys |= {"space": "{hidden_size: 4}", "name": "mine"}
    options = [option for key, value in keys.items() for option in ("--set", f"{key}={value}")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAKEOFF_REPORT", "1")
        done = here("search", "run", str(corpus), *options, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return request.param, cwd, done.stdout


@pytest.mark.slow
def test_texts_are_where_they_may_be_and_nowhere_else(searched: tuple[str, Path, str]) -> None:
    value, cwd, _ = searched
    (folder,) = (cwd / "searches").iterdir()
    in_search, in_all = with_marker(folder), with_marker(cwd)
    in_mlflow = {name for name in in_all if not name.startswith("searches/")}
    held = {"checkpoints/corpus/val.parquet", "checkpoints/corpus/test.parquet"}
    shown = {"report/index.html", inspected.RECORD}
    assert in_search == (set() if value == "none" else held | shown)
    artifacts = {"/".join(Path(name).parts[-1:]) for name in in_mlflow}
    assert artifacts == ({inspected.FILE, inspected.RECORD, "index.html"} if value == "all" else set())
    unknown = {Path(name).name for name, content in contents(cwd).items() if "xqzzy1" in content}
    if value == "none":
        assert not unknown & {inspected.FILE, inspected.RECORD, "index.html"}
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "near duplicates" in (folder / inspected.RECORD).read_text(encoding="utf-8")
    assert "duplicates of training texts" in page
    assert (MARKER in page) == (value != "none")


@pytest.mark.slow
def test_what_is_asked_for_is_shown_all_the_same(searched: tuple[str, Path, str], corpus: Path) -> None:
    _, cwd, _ = searched
    done = here("analysis", "errors", "--architecture", "mlp", "--out", "errors.csv", cwd=cwd)
    assert done.returncode == 0, done.stderr
    (folder,) = (cwd / "searches").iterdir()
    assert len(kept.examples(folder, "test")) == len(kept.corpus(folder).test)
    assert api.Search(folder, f"sqlite:///{cwd / 'mlflow.db'}").explain(architecture="mlp").frame["word"].size


# --- Without a search


def test_a_finding_has_dots_for_what_it_quotes() -> None:
    leak = Finding("leaks", "serious", "A word alone gives the label: 'xq' ('spam')", 3, "", "such as 'xq'", ("'xq'",))
    inspection = Inspection("mine", {}, 8, 8, (), None, None, (leak,))
    assert Inspection.from_json(inspection.to_json()) == inspection
    (hidden,) = inspection.without_texts().findings
    assert (hidden.what, hidden.example) == ("A word alone gives the label: ... ('spam')", "such as ...")
    assert Inspection.from_json(inspection.without_texts().to_json()).findings == (hidden,)


def test_a_look_at_the_data_keeps_to_it(corpus: Path) -> None:
    def look(texts: str) -> str:
        spec = specs.validate({"corpus": f"csv:{corpus}", "texts": texts})
        return "\n".join(inspected.lines(specs.inspect(spec)))

    assert MARKER in look("page")
    assert "xqzzy" in look("page")
    assert MARKER not in look("none")
    assert "xqzzy" not in look("none")


def test_a_spec_from_before_the_key_keeps_texts_in_mlflow() -> None:
    assert specs.load("name: old\narchitectures: [mlp]\n", "spec.yaml").texts == "all"
    assert specs.validate({}).texts == "page"
