"""A spec is validated before anything starts: a mistake is one line with rule, value and nearest choice."""

import contextlib
import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.base.errors import UserError
from search.spec import asked, read, space, spec
from search.train import config

IMAGES = {"architectures": ["text_to_image"], "corpus": "captions", "embeddings": "learned"}
GRID = {"sampler": "grid", "space": {}, "architectures": ["rnn"], "trials": None}
SMALL = {"space": {"hidden_size": [8]}, "trials": 1}


@pytest.mark.parametrize(
    "name", [str(path.relative_to(read.SHIPPED).with_suffix("")) for path in read.SHIPPED.rglob("*.yaml")]
)
def test_every_shipped_spec_is_valid_and_reads_back(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts.csv").write_text("text,label\na,1\n")  # csv.yaml names a file of the user's
    spec = read.read(name)
    assert read.validate(read.parse_yaml(read.dump(spec))) == spec


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3}, ["unknown key 'epoch'", "did you mean 'epochs'"]),
        ({"resources": {"cpus": 1}}, ["resources.cpus", "did you mean 'cpu'"]),
        ({"epochs": 0}, ["epochs", "greater than or equal to 1", "got 0"]),
        ({"epochs": "many"}, ["epochs", "integer", "got 'many'"]),
        ({"sampler": "tpee"}, ["sampler", "'tpee'", "did you mean 'tpe'"]),
        ({"pruner": "asher"}, ["pruner", "did you mean 'asha'"]),
        ({"architectures": ["grru"]}, ["'grru'", "did you mean 'gru'"]),
        ({"architectures": []}, ["architectures"]),
        ({"architectures": ["gru", "gru"]}, ["name each architecture once"]),
        ({"metric": "test_accuracy"}, ["metric", "'test_accuracy'", "val_"]),
        ({"metric": "val_acuracy"}, ["did you mean 'val_accuracy'"]),
        ({"corpus": "imbd"}, ["'imbd'", "did you mean 'imdb'"]),
        ({"corpus": "csv:nowhere.csv"}, ["nowhere.csv"]),
        ({"vectors": "glove.6B.51d"}, ["did you mean 'glove.6B.50d'"]),
        ({"name": "../escape"}, ["name", "'../escape'", "nearest: 'escape'"]),
        ({"time_budget": "soon"}, ["time_budget", "'soon'"]),
        (
            IMAGES | {"corpus": "imdb"},
            ["corpus: text_to_image needs a corpus with images_NYX and digits_NQ: captions; got 'imdb'"],
        ),
        (
            IMAGES | {"architectures": ["gru", "text_to_image"]},
            ["one task", "gru for classification", "text_to_image for"],
        ),
        (IMAGES | {"metric": "val_roc_auc"}, ["metric", "val_pixel_error", "for text_to_image", "got 'val_roc_auc'"]),
        ({"metric": "val_pixel_error"}, ["metric", "val_roc_auc", "for classification", "got 'val_pixel_error'"]),
        (IMAGES | {"space": {"heads": [17]}}, ["heads", "17", "did you mean 16"]),
        ({"space": {"hiden_size": [8]}}, ["'hiden_size'", "did you mean 'hidden_size'"]),
        ({"space": {"activation": ["rellu"]}}, ["'rellu'", "did you mean", "relu"]),
        ({"space": {"hidden_size": {"low": 8}}}, ["needs low and high"]),
        ({"space": {"hidden_size": {"low": 9, "high": 8}}}, ["low should be at most high"]),
        ({"space": {"hidden_size": {"low": 8, "high": 16, "stepp": 2}}}, ["'stepp'", "did you mean 'step'"]),
        ({"space": {"hidden_size": {"low": 8, "high": "x"}}}, ["hidden_size.high", "number", "'x'"]),
        ({"space": {"hidden_size": []}}, ["at least one value"]),
        ({"space": {"hidden_size": [8, 8]}}, ["name each value once"]),
        ({"space": {"hidden_size": [[8]]}}, ["scalars"]),
        ({"space": {"hidden_size": 0}}, ["hidden_size", "0", "did you mean 1"]),
        ({"space": {"learning_rate": {"low": 0.0, "high": 1.0, "log": True}}}, ["log range", "above 0"]),
        ({"space": {"learning_rate": {"low": 0.1, "high": 1.0, "log": True, "step": 0.1}}}, ["not both"]),
        ({"space": {"dropout": {"low": 0, "high": 2}}}, ["dropout", "2"]),
        ({"space": {"hidden_size": {"low": 8, "high": 16, "step": 0.5}}}, ["hidden_size", "8.5"]),
        ({"space": {"hidden_size": {"low": 8, "high": 12, "step": 100}}}, ["step", "100"]),
        ({"space": {"hidden_size": {"low": 8, "high": 10**400}}}, ["hidden_size.high"]),
        ({"batch_size": 100000}, ["batch_size", "65536"]),
        ({"time_budget": float("inf")}, ["time_budget"]),
        ({"resources": {"cpu": float("inf")}}, ["resources.cpu"]),
        ({"storage": ""}, ["storage"]),
        ({"keep_checkpoints": "some"}, ["keep_checkpoints", "'some'"]),
        ({"space": {"num_layers": {"mpl": [2]}}}, ["'mpl'", "did you mean 'mlp'"]),
        ({"space": {"num_layers": {"mlp": [9]}}}, ["9", "mlp"]),
        ({"sampler": "grid", "space": {"dropout": {"low": 0.0, "high": 0.5}}}, ["a grid needs values"]),
        ({"seeds": 3}, ["seeds", "sampler: grid", "got seeds 3, tpe"]),
        ({"seeds": 0}, ["seeds", "greater than or equal to 1"]),
        ({"match_parameters": 5000}, ["match_parameters", "leave it out"]),
        ({"configurations": {"rnn": {"a": {}}}, "trials": None}, ["configurations", "sampler: grid"]),
        ({"sampler": "grid", "seeds": 2}, ["trials", "leave it out", "got 1"]),
        (GRID | {"configurations": {"rnn": {"": {}}}}, ["configurations.rnn", "name"]),
        (GRID | {"configurations": {"rnn": {"a": {"dropout": None}}}}, ["rnn.a.dropout", "single value", "None"]),
        (GRID | {"space": {"dropout": 0.1}, "configurations": {"rnn": {"a": {}}}}, ["leave out space"]),
        (GRID | {"configurations": {"gru": {"a": {}}}}, ["['rnn']", "['gru']"]),
        (GRID | {"configurations": {"rnn": {}}}, ["configurations.rnn", "at least one"]),
        (GRID | {"configurations": {"rnn": {"a": {"hiden_size": 8}}}}, ["rnn.a", "'hiden_size'", "'hidden_size'"]),
        (GRID | {"configurations": {"rnn": {"a": {"window": 3}}}}, ["rnn.a", "'window'"]),
        (GRID | {"configurations": {"rnn": {"a": {"hidden_size": [8, 9]}}}}, ["rnn.a.hidden_size", "single value"]),
        (GRID | {"configurations": {"rnn": {"a": {"hidden_size": 0}}}}, ["rnn.a", "hidden_size", "0"]),
        ({"space": {"hidden_size": [10**400]}}, ["hidden_size", "whole number"]),
        ({"space": {"dropout": [-(10**400)]}}, ["dropout", "did you mean 0"]),
        ({"space": {"hidden_size": {1: [2]}}}, ["unknown key 1", "one of low"]),
        ({"space": {"activation": datetime.date(2026, 1, 1)}}, ["activation", "one of none"]),
        ({"space": {"hidden_size": {"mlp": {"low": 1, "high": {"a"}}}}}, ["hidden_size.high", "finite number"]),
        (GRID | {"configurations": {"rnn": {"a": {"hidden_size": {8}}}}}, ["rnn.a", "hidden_size", "whole number"]),
        ({"batch_size": 0}, ["batch_size", "whole number", "did you mean 1"]),
        ({"max_grad_norm": -1.0}, ["max_grad_norm", "-1.0"]),
        ({"max_words": 0}, ["max_words", "whole number from 1", "got 0"]),
        ({"max_words": "all"}, ["max_words", "whole number from 1", "got 'all'"]),
        ({"max_words": {"gru": 10.5}}, ["max_words", "whole number from 1", "got 10.5"]),
        ({"max_words": {"gruu": 10}}, ["max_words", "'gruu'", "did you mean 'gru'"]),
        ({"max_words": {"gru": 10, "rnn": 30}}, ["max_words: has no number for mlp, which is searched; add mlp: 30"]),
        ({"max_words": {}}, ["max_words", "mapping from architecture", "got {}"]),
    ],
)
def test_a_mistake_is_one_line_that_helps(content: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError, match=r".+") as raised:
        read.validate(SMALL | content)
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_words_are_of_all_architectures_or_of_each() -> None:
    of_all = read.validate(SMALL | {"max_words": 1e2})
    assert (of_all.max_words, of_all.most_words, of_all.words_of("gru")) == (100, 100, 100)
    of_each = read.validate(SMALL | {"architectures": ["gru"], "max_words": {"gru": 100, "mlp": 400}})
    assert (of_each.most_words, of_each.words_of("gru")) == (400, 100)
    assert of_each.words_of("tfidf") == 400  # as many as any architecture
    assert read.validate(read.parse_yaml(read.dump(of_each))) == of_each


def test_each_mistake_has_its_line() -> None:
    with pytest.raises(UserError, match=r".+") as raised:
        read.validate({"epochs": 0, "batch_sise": 1, "seed": -1})
    assert len(str(raised.value).splitlines()) == 3


def test_overrides_reach_nested_keys_and_numbers_may_be_written_as_people_do() -> None:
    spec = read.read("smoke", ["epochs=7", "space.learning_rate={low: 1e-4, high: 1e-2}", "resources.cpu=2"])
    assert spec.epochs == 7
    assert spec.space["learning_rate"] == {"low": 0.0001, "high": 0.01}
    assert spec.resources.cpu == 2
    assert spec.space["hidden_size"] == [8, 16]


@pytest.mark.parametrize("override", ["epochs", "=3", "epochs=[", "epochs=0", "name=a b"])
def test_a_wrong_override_is_one_line(override: str) -> None:
    with pytest.raises(UserError, match=r".+") as raised:
        read.read("smoke", [override])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("written", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400), (30, 30), ("2d", 172800)])
def test_time_budget_has_units(written: object, seconds: float) -> None:
    assert read.validate(SMALL | {"time_budget": written}).time_budget == seconds


yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from([*spec.Spec.model_fields, "space.hidden_size"]), value=yaml_values)
def test_whatever_is_written_ends_in_a_spec_or_a_mistake_of_the_users(key: str, value: Any) -> None:
    content: dict[str, Any] = {"space": {"hidden_size": value}} if "." in key else {key: value}
    with contextlib.suppress(UserError):
        read.validate(content)


yaml_text = st.lists(
    st.sampled_from(
        ["space", "epochs", "corpus", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "!!set ", "!!python/object:x ", "&a ",
         "*a", "'", '"', "1e400", "0x10", ".nan", "2026-01-01", "#", "\t", "low", "high", ",", "rnn", "\x00"]
    )
).map("".join)  # fmt: skip


@given(text=yaml_text)
def test_whatever_a_file_holds_ends_in_a_spec_or_a_mistake_of_the_users(text: str, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_text(text, encoding="utf-8")
    with contextlib.suppress(UserError):
        read.read(str(path))


@pytest.mark.parametrize(
    "text",
    [
        "space: " + "[" * 3000,
        "space: {hidden_size: [!!set {a}]}",
        "sampler: grid\nspace: {dropout: {low: 0, high: 0.5, step: 1.0e-12}}",
        "resources: {cpu: 1.0e-320}",
        "[1, 2]",
        "a: b: c",
        "\x00",
    ],
)
def test_a_malicious_file_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r".+") as raised:
        read.read(str(tmp_path / "spec.yaml"))
    assert "\n" not in str(raised.value)


def test_a_space_has_every_hyperparameter_and_no_dead_branch() -> None:
    spec = read.validate(
        {"space": {"gate_activation": ["relu", "sigmoid"], "num_layers": {"mlp": [3]}, "dropout": 0.2}}
    )
    spaces = spec.spaces
    for architecture, its_space in spaces.items():
        assert list(its_space) == list(config.domains(architecture))
    assert spaces["gru"]["gate_activation"].grid() == ["relu", "sigmoid"]
    assert "gate_activation" not in spaces["rnn"]
    assert spaces["mlp"]["num_layers"].grid() == [3]
    assert spaces["rnn"]["num_layers"].grid() == [1]  # the constructor's default
    assert spaces["rnn"]["dropout"].grid() == [0.2]


def test_a_stepped_range_is_a_grid() -> None:
    assert space.Range(64, 128, 8).grid() == [64, 72, 80, 88, 96, 104, 112, 120, 128]
    assert space.Range(0, 0.5, 0.25).grid() == [0.0, 0.25, 0.5]
    assert space.Range(0.1, 0.5, 0.2).grid() == pytest.approx([0.1, 0.3, 0.5])
    spec = read.validate(
        {"sampler": "grid", "space": {"hidden_size": {"low": 8, "high": 16, "step": 4}, "dropout": [0.0, 0.1]}}
    )
    assert space.grid_size(spec.spaces["rnn"]) == 6


def test_the_first_trial_takes_what_the_spec_says_where_the_space_has_it() -> None:
    space_of_training = {"batch_size": [16, 64], "max_grad_norm": {"low": 0.5, "high": 10.0}, "hidden_size": [8, 64]}
    content = {"space": space_of_training, "batch_size": 64, "max_grad_norm": 5.0}
    point = read.validate(content).default_point("gru")
    assert (point["batch_size"], point["max_grad_norm"], point["hidden_size"]) == (64, 5.0, 64)
    assert read.validate(content | {"batch_size": 32}).default_point("gru")["batch_size"] == 16  # the first


def test_no_clipping_is_a_value_of_a_space_and_no_other_hyperparameter_may_be_none() -> None:
    content = {"space": {"max_grad_norm": [None, 1.0], "hidden_size": None, "num_layers": {"gru": None}}}
    spaces = read.validate(content | {"max_grad_norm": 5.0}).spaces
    assert spaces["gru"]["max_grad_norm"] == space.Choice((None, 1.0))
    assert spaces["gru"]["hidden_size"] == space.Choice((64,))  # a key without a value is left out
    assert spaces["gru"]["num_layers"] == space.Choice((1,))
    fixed = read.validate({"space": {"max_grad_norm": {"gru": None}}, "max_grad_norm": 5.0}).spaces
    assert [fixed[name]["max_grad_norm"].grid() for name in ("gru", "rnn")] == [[None], [5.0]]
    with pytest.raises(UserError, match="hidden_size must be a whole number"):
        read.validate({"space": {"hidden_size": [None, 8]}})


def test_a_spec_that_was_kept_is_read_without_its_files_and_is_one_line_where_it_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"not on this machine: there is no .*/spec\.yaml; name their folder with --searches$"
    ):
        read.read_spec(tmp_path)
    (tmp_path / "spec.yaml").mkdir()
    with pytest.raises(UserError, match=r"spec\.yaml cannot be read: Is a directory$"):
        read.read_spec(tmp_path)
    (tmp_path / "spec.yaml").rmdir()
    (tmp_path / "spec.yaml").write_text("corpus: csv:gone.csv\nvectors: file:gone.txt\nstorage_path: gone\n")
    kept = read.read_spec(tmp_path)
    assert kept.corpus == "csv:gone.csv"
    assert read.load(kept.model_dump_json(), "MLflow's spec.json") == kept
    for text in ("epochz: 1\nseed: -1\n", "architectures: [lstm]\n", "[", "3"):
        (tmp_path / "spec.yaml").write_text(text)
        with pytest.raises(UserError, match=r"spec\.yaml: ") as raised:
            read.read_spec(tmp_path)
        assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match=r"spec\.json: not JSON"):
        read.load("{", "spec.json")


def test_architectures_alone_picks_a_few_of_a_spec() -> None:
    for name in read.read("default").architectures:
        found = read.read("default", [f"architectures=[{name}]"])
        assert list(found.spaces) == [name]
    with pytest.raises(UserError, match=r"space\.kernel_size: gru has no 'kernel_size'"):
        read.read("default", ["space.kernel_size={gru: 3}"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["architectures=[rnn]", "space.gate_activation=relu"],
            "space: 'gate_activation' belongs to gru, which this spec does",
        ),
        (["architectures=[rnn]", "space.gate_activatoin=relu"], "unknown hyperparameter 'gate_activatoin'"),
    ],
)
def test_a_hyperparameter_of_architectures_that_are_not_searched_is_told_as_that(
    overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read.read("smoke", overrides)


def test_a_tuple_is_a_list() -> None:
    assert read.validate({"architectures": ("gru", "mlp")}).architectures == ["gru", "mlp"]


def test_texts_are_asked_for_by_their_file_or_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is searched as it is, and the search has its name; a corpus by the default spec."""
    monkeypatch.chdir(tmp_path)
    Path("My reviews #2: a.csv.gz").write_text("text,label\n")
    own = asked.spec_for("My reviews #2: a.csv.gz", ["epochs=2"], keys={"text_column": "text"})
    assert (own.name, own.corpus, own.epochs, own.text_column) == (
        "My-reviews-2-a",
        "My reviews #2: a.csv.gz",
        2,
        "text",
    )
    assert asked.spec_for("csv:My reviews #2: a.csv.gz", keys={"name": "other"}).name == "other"
    assert asked.spec_for("rotten-tomatoes") == read.read("default", ["corpus=rotten-tomatoes"])
    assert asked.spec_for("smoke") == read.read("smoke")
    with pytest.raises(UserError, match=r"^no spec, file or corpus 'smoky' \(did you mean 'smoke'\?\)$"):
        asked.spec_for("smoky")
