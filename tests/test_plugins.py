"""Plugins: read, executed and registered; mistakes in them give one line each."""

import functools
import linecache
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import data
import models
from analysis.base import runs
from data.base import plugins
from data.base.errors import UserError
from data.base.splitting import split_examples
from data.base.texts import Texts
from data.corpora import functions
from data.corpora.functions import FunctionCorpus
from models import contract
from search.base import schema
from search.cluster import submit
from search.prove import audit, replay
from search.run import confirm
from search.run.setting import make_setting
from search.serve import export, loading
from search.spec import read as specs
from search.train import metrics, running
from tests.conftest import command, here

NET = """from torch import nn

class Net(nn.Module):
    hyperparameters = {"size": (2, 64), "dropout": (0.0, 0.9), "pooling": ["mean", "max"]}

    def __init__(self, setting, *, size=8, dropout=0.0, pooling="mean"):
        super().__init__()
        self.embedding, self.pooling = setting.embedding, pooling
        self.layer = nn.Linear(setting.embedding.size, size)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(size, setting.num_classes)

    def forward(self, tokens_BT, lengths_B):
        states = self.dropout(self.layer(self.embedding(tokens_BT)).relu())
        real = (tokens_BT != 0).unsqueeze(2)
        if self.pooling == "max":
            return self.output((states * real).amax(1))
        return self.output((states * real).sum(1) / lengths_B.unsqueeze(1))
"""


def made(source: str, name: str = "Net") -> Any:
    return plugins.Plugin(f"my_net.py:{name}", source).load()


@pytest.fixture(autouse=True)
def _forget() -> Any:
    """Unregisters plugins after every test."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    registries: tuple[dict[str, Any], ...] = (models.ARCHITECTURES, data.CORPORA, metrics.METRICS)
    before = [dict(registry) for registry in registries]
    yield
    for registry, content in zip(registries, before, strict=True):
        registry.clear()
        registry.update(content)


def test_a_reference_is_read_and_made_from_its_text_alone(tmp_path: Path) -> None:
    path = tmp_path / "my_net.py"
    path.write_text(NET, encoding="utf-8")
    plugin = plugins.read(f"{path}:Net")
    assert (plugin.name, plugin.file, plugin.source) == ("Net", str(path), NET)
    path.unlink()
    assert plugin.load().__name__ == "Net"
    assert plugin.load() is plugins.Plugin(plugin.reference, NET).load()  # executed once
    assert plugins.read("json.decoder:JSONDecoder").load().__name__ == "JSONDecoder"  # its package is importable


@pytest.mark.parametrize(
    ("reference", "source", "message"),
    [
        ("my_net.py:Nett", NET, "my_net.py has no 'Nett' (did you mean 'Net'?)"),
        ("my_nett.py:Net", NET, "my_nett.py (did you mean 'my_net.py'?)"),
        ("my_net.py", NET, "'my_net.py' should have the form path/file.py:Name or package.module:Name"),
        ("no_such.module:Net", NET, "no module 'no_such.module' is installed"),
        ("my_net.py:Net", "import torch\n\nclass Net(\n", "my_net.py, line 3: SyntaxError: '(' was never closed"),
        ("my_net.py:Net", "x = 1\nclass Net(nn.Module): ...\n", "line 2: NameError: name 'nn' is not defined"),
        ("my_net.py:Net", "import sys\nsys.exit('done')\n", "my_net.py, line 2: SystemExit: done"),
        (
            "my_net.py:Net",
            "\nfrom neighbour import x\n",
            "line 2: ModuleNotFoundError: No module named 'neighbour'; only installed packages",
        ),
        ("my_net.py:Net", "\nfrom neighbour import x\n", "put both into one file ('neighbour' is a file beside it)"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    reference: str, source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_net.py").write_text(source, encoding="utf-8")
    (tmp_path / "neighbour.py").write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(message)) as error:
        plugins.read(reference).load()
    assert "\n" not in str(error.value)


def test_a_file_that_imports_its_neighbour_is_refused_where_that_would_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good_neighbour.py").write_text("x = 1")
    (tmp_path / "my_net.py").write_text("import math\nfrom good_neighbour import x\n" + NET)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        UserError, match=r"my_net.py, line 2: imports 'good_neighbour', a file beside it; only installed packages"
    ):
        plugins.read(f"{tmp_path / 'my_net.py'}:Net").load()


def test_a_changed_file_is_told_and_a_lost_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "my_net.py"
    path.write_text(NET, encoding="utf-8")
    plugin = plugins.read(f"{path}:Net")
    plugin.require_unchanged()
    path.write_text(NET + "# changed\n", encoding="utf-8")
    with pytest.raises(UserError, match="has changed since the search was started"):
        plugin.require_unchanged()
    path.unlink()
    plugin.require_unchanged()


CELL = """import torch, bakeoff
from torch import nn
SIZE = 8
def helper(x): return x * torch.ones(SIZE)

class Net(nn.Module):
    def forward(self, x): return [helper(each) for each in x]

search = bakeoff.run(architectures=[Net])
"""


def test_of_a_cell_what_a_class_needs_is_taken_and_what_it_lacks_is_named() -> None:
    taken = plugins.stand_alone(CELL, "Net")
    assert taken == CELL[: CELL.index("\nsearch")]  # whose execution would start the search again
    for line, missing in [("from torch import nn\n", "nn"), ("SIZE = 8\n", "SIZE"), ("import torch, bakeoff", "torch")]:
        with pytest.raises(UserError, match=f"Net uses {missing}, which its cell does not define: put all imports"):
            plugins.stand_alone(CELL.replace(line, ""), "Net")


def test_a_class_of_a_notebook_cell_is_made_again_from_the_cell() -> None:
    name = "<cell 3>"
    linecache.cache[name] = (len(NET), None, NET.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(NET + "\nmade = Net\n", name, "exec"), namespace)
    plugin = plugins.of(namespace["Net"])
    assert plugin == plugins.Plugin("<notebook>:Net", NET)
    assert plugin.load() is not namespace["Net"]
    with pytest.raises(UserError, match="should be defined at the top level of a file or a cell"):
        plugins.of(type("Inner", (), {"__qualname__": "outer.<locals>.Inner"}))


def test_what_changes_a_name_that_is_needed_is_taken_with_it() -> None:
    cell = (
        "import bakeoff\nSIZES = []\nOTHERS = []\ndef cost(labels, probabilities): return len(SIZES) * bakeoff.x\n"
        "cost.maximize, cost.worst = False, 5\nSIZES.append(3)\nSIZES[0] += 1\n"
    )
    rest = "OTHERS.append(3)\nbakeoff.run(metrics=[cost])\ncost([], [])\n"
    assert plugins.stand_alone(cell + rest, "cost") == cell.replace("OTHERS = []", "")
    with pytest.raises(UserError, match="cost uses MANY, which its cell does not define"):
        plugins.stand_alone(cell + "cost.worst = MANY\n", "cost")


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("import torch\n\nclass Net:\n    @torch.no_grad()\n    def forward(self): ...\n", "Net"),
        ("from dataclasses import dataclass\n\n@dataclass\nclass Net:\n    size: int = 3\n", "Net"),
        ("class Net(dict):\n    hyperparameters = {}\n", "Net"),
        ("import functools\nfrom tests.test_plugins import logged\n\n@logged\ndef cost(): ...\n", "cost"),
    ],
)
def test_a_cell_is_found_where_its_functions_are_wrapped_made_elsewhere_or_lacking(cell: str, name: str) -> None:
    for number, text in enumerate([f"class {name}: ...\n", cell, f"class {name}s: ...\n"]):  # the last of its name
        linecache.cache[f"<cell {number}>"] = (len(text), None, text.splitlines(keepends=True), f"<cell {number}>")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(cell, "<cell 1>", "exec"), namespace)
    assert plugins.of(namespace[name]).source == cell.replace("import functools", "")


def logged(function: Any) -> Any:
    """A decorator from another file."""

    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


def test_a_package_that_cannot_be_imported_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package").mkdir()
    (tmp_path / "broken_package" / "__init__.py").write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    message = "broken_package.nets: its package broken_package cannot be imported: ZeroDivisionError: division by zero"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        plugins.read("broken_package.nets:Net")


def test_odd_characters_of_a_source_come_back_from_yaml() -> None:
    odd = [chr(code) for code in (*range(1, 0x100), 0x2028, 0x2029, 0xFEFF, 0xFFFF, 0x1F600)]
    texts = [text.format(each) for each in odd for text in ("a{}b", "a{}b\n", "{}a\nb", "a\n {}\n\n")]
    assert specs.parse_yaml(yaml.dump(texts, Dumper=specs._Dumper, allow_unicode=True)) == texts


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([[3, 4, 5], [6, 0, 0]]), torch.tensor([3, 1])


def test_a_torch_module_is_an_architecture_with_gradients_by_its_words() -> None:
    models.register("Net", made(NET))
    vectors_VE = torch.randn(9, 5)
    vectors_VE[0] = 0
    model = models.build("Net", models.WordVectors(vectors_VE), 3, size=32)
    tokens_BT, lengths_B = texts()
    logits_BC = model(tokens_BT, lengths_B)
    assert logits_BC.shape == (2, 3)
    words_BTE = model.embedding(tokens_BT).requires_grad_()
    by_words_BC = model.classify(words_BTE, lengths_B)
    torch.testing.assert_close(by_words_BC, logits_BC)
    (grad_BTE,) = torch.autograd.grad(by_words_BC.sum(), words_BTE)
    assert (grad_BTE.abs().sum(2) > 0).tolist() == [[True, True, True], [True, False, False]]
    assert not hasattr(model, "word_scores")
    with pytest.raises(UserError, match="Net: size must be a whole number from 2 to 64, got 1"):
        models.build("Net", models.WordVectors(vectors_VE), 3, size=1)


@pytest.mark.parametrize(
    ("old", "new", "got"),
    [("setting.num_classes", "7", "(3, 7)"), ("/ lengths_B.unsqueeze(1))", "/ lengths_B.unsqueeze(1)), None", "tuple")],
)
def test_what_is_no_score_of_each_class_is_told_when_it_is_first_given(old: str, new: str, got: str) -> None:
    models.register("Net", made(NET.replace(old, new)))
    model = models.build("Net", models.WordVectors.learned(9, 4), 2)
    with pytest.raises(
        UserError, match=re.escape(f"Net: forward should return a tensor (B, C), here (3, 2); got {got}")
    ):
        model(torch.ones(3, 5, dtype=torch.int64), torch.tensor([5, 5, 5]))


def test_a_module_with_word_scores_or_without_our_word_vectors() -> None:
    scoring = NET + "    def word_scores(self, tokens_BT, lengths_B):\n        return tokens_BT * 2\n"
    models.register("Net", made(scoring))
    vectors = models.WordVectors(torch.zeros(9, 5))
    model: Any = models.build("Net", vectors, 3)
    assert model.word_scores(*texts())[0].tolist() == [6, 8, 10]
    own = NET.replace("setting.embedding,", "nn.Embedding(9, 5),", 1)
    models.register("Net", made(own))
    model = models.build("Net", vectors, 3)
    assert model(*texts()).shape == (2, 3)
    with pytest.raises(UserError, match=r"Net does not read words through setting\.embedding"):
        model.classify(vectors(texts()[0]), texts()[1])


def test_a_module_may_start_from_the_training_texts() -> None:
    start = "    def start_from(self, batches):\n"
    starting = f"{NET}{start}        self.layer.bias.data.fill_(sum(labels_B.sum() for _, _, labels_B in batches))\n"
    for source, expected in ((starting, 3.0), (NET, None)):
        models.register("Net", made(source))
        model: Any = models.build("Net", models.WordVectors(torch.zeros(9, 5)), 3)
        before = model.network.layer.bias.clone()
        model.start_from([(*texts(), torch.tensor([1, 2]))])
        after = model.network.layer.bias
        assert torch.equal(after, before if expected is None else torch.full_like(after, expected))


def test_a_hyperparameter_may_be_none() -> None:
    optional = NET.replace('"size": (2, 64)', '"size": OrNone((2, 64))').replace("size=8", "size=None", 1)
    optional = optional.replace("super()", "size = size or 8\n        super()")
    models.register("Net", made("from models.parts.hyperparameters import OrNone\n" + optional))
    for rule, problem in contract.check(models.ARCHITECTURES["Net"]):  # type: ignore[arg-type]
        assert problem is None, rule
    with pytest.raises(UserError, match="Net: size must be a whole number from 2 to 64, got 1"):
        models.build("Net", models.WordVectors(torch.zeros(9, 5)), 3, size=1)


def test_a_subclass_of_architecture_declares_in_plain_forms_too() -> None:
    source = (
        "import models\nfrom torch import nn\n"
        "class Net(models.Architecture):\n    hyperparameters = {'size': (1, 9)}\n"
        "    def __init__(self, embedding, num_outputs, *, size=3):\n"
        "        super().__init__(embedding)\n        self.output = nn.Linear(embedding.size * size, num_outputs)\n"
        "    def classify(self, words_BTE, lengths_B):\n"
        "        return self.output((words_BTE.sum(1) / lengths_B[:, None]).repeat(1, 3))\n"
    )
    models.register("Net", made(source))
    assert models.build("Net", models.WordVectors(torch.zeros(9, 5)), 2)(*texts()).shape == (2, 2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "(nn.Module)",
            "",
            "my_net.py:Net: should be a class, of torch.nn.Module or models.Architecture, or with fit",
        ),
        (
            "hyperparameters =",
            "parameters =",
            "should have a class attribute hyperparameters = {'size': (8, 512), ...}",
        ),
        ("(2, 64)", "(64, 2)", "hyperparameters['size']: should be (low, high) or a list of choices; got (64, 2)"),
        ("*, size=8", "*, sise=8", "does not take the hyperparameter 'size' (did you mean 'sise'?)"),
        ("*, size=8", "*, size=8, heads=2", "takes 'heads', which is not in hyperparameters"),
        ("*, size=8", "*, size", "should have a default for 'size'"),
        ("size=8", "size=1", "the default of size must be a whole number from 2 to 64, got 1; did you mean 2?"),
    ],
)
def test_what_is_no_architecture_is_one_line(old: str, new: str, message: str) -> None:
    assert old in NET
    with pytest.raises(UserError, match=re.escape(message)) as error:
        models.register("Net", made(NET.replace(old, new)), "my_net.py:Net")
    assert "\n" not in str(error.value)


def test_the_names_of_ours_are_taken() -> None:
    with pytest.raises(UserError, match="'gru' is the name of a built-in architecture: give yours another name"):
        models.register("gru", made(NET))


@pytest.mark.parametrize(
    ("old", "new", "rule", "problem"),
    [
        ("", "", None, None),
        (
            ".sum(1) / lengths_B.unsqueeze(1)",
            ".mean(1)",
            "padding and the batch change nothing",
            "wider padding changes a text's scores",
        ),
        (
            "* real).amax",
            ").amax",
            "padding and the batch change nothing",
            "pooling max: other texts in the batch change",
        ),
        (
            "nn.Dropout(dropout)",
            "nn.Identity()",
            "every hyperparameter is live",
            "dropout has no effect: 0.0 and 0.45 give the same network; use it, or remove it from hyperparameters",
        ),
        (
            "self.layer =",
            "self.unused = nn.Linear(2, 2)\n        self.layer =",
            "gradients reach every parameter",
            "training does not change network.unused.weight, network.unused.bias",
        ),
        ("self.layer =", "self.layers = [0]\n        self.scale = torch.rand(1)\n        self.layer =", None, None),
        (
            "return self.output((states * real).sum",
            "return torch.rand(1) + self.output((states * real).sum",
            "equal seeds give equal numbers",
            "two passes in eval mode differ",
        ),
        (
            "super().__init__()",
            "super().__init__(); torch.manual_seed(3)",
            "equal seeds give equal numbers",
            "the seed",
        ),
        (
            "self.dropout =",
            "self.scale = torch.rand(1)\n        self.dropout =",
            "the state dict is whole, without pickle",
            "weights are missing from its state dict",
        ),
        ("setting.embedding,", "nn.Embedding(20, 5),", "words can be explained", "Net does not read words through"),
        (
            "size)\n        self.dropout",
            "9)\n        self.dropout",
            "numbers are finite in training",
            "RuntimeError: mat1",
        ),
    ],
)
def test_what_breaks_a_rule_is_told_with_what_to_do(old: str, new: str, rule: str | None, problem: str | None) -> None:
    source = "import torch\n" + NET.replace(old, new, 1)
    if rule and rule.startswith("the state dict"):
        source = source.replace("self.embedding(tokens_BT)", "self.embedding(tokens_BT) * self.scale")
    models.register("Net", made(source))
    problems = dict(contract.check(models.ARCHITECTURES["Net"]))  # type: ignore[arg-type]
    broken = {each: told for each, told in problems.items() if told}
    if rule is None or problem is None:
        assert broken == {}
    else:
        assert problem in (broken.get(rule) or ""), broken


def test_the_command_that_checks(tmp_path: Path) -> None:
    (tmp_path / "my_net.py").write_text(NET.replace("nn.Dropout(dropout)", "nn.Identity()"), encoding="utf-8")
    done = here("bakeoff", "check-architecture", "my_net.py:Net", cwd=tmp_path)
    assert done.returncode == 1
    assert [line[:5] for line in done.stdout.splitlines()] == ["ok   ", "ok   ", "fail ", *["ok   "] * 4]
    wrong = here("bakeoff", "check-architecture", "gruu", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (2, "error: unknown architecture 'gruu' (did you mean 'gru'?)\n")


DATA = """import data

def load():
    examples = data.read_examples("rotten-tomatoes", "train", limit=1000)
    return [text for text, _ in examples], ["good" if label else "bad" for _, label in examples]
"""

COST = """def cost(labels_N, probabilities_NC):
    return float((labels_N != (probabilities_NC[:, 1] > 0.5)).mean() * 5)

cost.maximize = False
cost.worst = 5
cost.label = "cost of a text"
"""

COLUMNS = ("seed", "start", "seconds", "best_epoch", "val_accuracy")  # some of the table of trials

SPEC = {
    "name": "outside",
    "corpus": "my_data.py:load",
    "limit": 200,
    "architectures": ["mlp", "my_net.py:Net"],
    "space": {"size": {"Net": [4, 8]}},
    "metrics": ["my_metrics.py:cost"],
    "metric": "val_cost",
    "trials": 1,
    "epochs": 2,
    "baselines": "none",
}


def test_a_spec_keeps_the_source_and_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_data.py").write_text(DATA, encoding="utf-8")
    (tmp_path / "my_metrics.py").write_text(COST, encoding="utf-8")
    path = tmp_path / "my_net.py"
    path.write_text(NET, encoding="utf-8")
    spec = specs.validate(SPEC)
    assert spec.architectures == ["mlp", "Net"]
    assert spec.code.architectures == {"Net": plugins.Plugin(f"{path}:Net", NET)}
    assert spec.code.corpus == {spec.corpus: plugins.Plugin(f"{tmp_path / 'my_data.py'}:load", DATA)}
    packed = tmp_path / "packed"
    submit.pack(spec, packed)
    path.unlink()
    (tmp_path / "my_data.py").unlink()
    assert specs.freeze(spec) == spec
    del models.ARCHITECTURES["Net"]
    assert specs.read(str(packed / submit.SPEC)) == spec
    assert NET in (packed / submit.SPEC).read_text(encoding="utf-8").replace("\n        ", "\n")  # line by line
    assert set(spec.spaces["Net"]) > {"size", "dropout", "pooling", "learning_rate"}
    changed = plugins.Plugin(f"{path}:Net", NET + "# changed\n")
    other = spec.model_copy(update={"code": spec.code.model_copy(update={"architectures": {"Net": changed}})})
    with pytest.raises(UserError, match="the spec differs from the one that this search was started with\ncode was"):
        specs.require_unchanged(other, specs.compared(spec))


@pytest.mark.parametrize("name", ["tfidf", "ngram"])
def test_a_kept_spec_may_have_its_own_of_a_name_that_was_not_ours_then(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = NET.replace("class Net(", f"class {name}(")
    (tmp_path / "my_net.py").write_text(source, encoding="utf-8")
    new = {"architectures": ["mlp", f"my_net.py:{name}"]}
    with pytest.raises(UserError, match=f"'{name}' is the name of a built-in architecture: give"):
        specs.validate(new)
    kept = {
        "architectures": ["mlp", name],
        "space": {"size": {name: [4, 8]}, "learning_rate": [0.01]},
        "code": {"architectures": {name: {"reference": f"{tmp_path / 'my_net.py'}:{name}", "source": source}}},
    }
    old = specs.load(yaml.safe_dump(kept), "spec.yaml")
    assert (old.architectures, old.baselines) == (["mlp", name], [])
    assert "size" in old.spaces[name]
    assert not models.is_baseline(name)
    assert specs.load(specs.dump(old), "spec.yaml") == old

    # In a worker, regardless of what its process did before.
    for setting, own in ((make_setting(old, tmp_path), True), (make_setting(specs.validate({}), tmp_path), False)):
        running.take_in({schema.ARCHITECTURE: name}, setting)
        assert ("size" in models.architecture(name).hyperparameters) == own
    specs.load(yaml.safe_dump(kept), "spec.yaml")  # after which the next spec has ours again
    assert "tfidf" in specs.validate({"architectures": ["mlp"], "baselines": ["tfidf"]}).baselines
    assert models.is_baseline("tfidf")


def test_a_spec_has_not_both_a_baseline_and_its_own_of_that_name() -> None:
    source = NET.replace("class Net(", "class tfidf(")
    code = {"architectures": {"tfidf": {"reference": "my_net.py:tfidf", "source": source}}}
    both = {"architectures": ["tfidf"], "baselines": ["majority", "tfidf"], "code": code}
    with pytest.raises(UserError, match="baselines: tfidf is also the name of your architecture"):
        specs.load(yaml.safe_dump(both), "spec.yaml")


def test_the_words_of_a_network_that_is_confirmed_no_further_still_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, source in (("my_data", DATA), ("my_metrics", COST), ("my_net", NET)):
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    spec = specs.validate(SPEC | {"max_words": {"mlp": 10, "Net": 30}})
    only_mlp = specs.validate(spec.model_dump() | {"architectures": ["mlp"], "space": {}})
    kept = specs.dump(only_mlp)
    del models.ARCHITECTURES["Net"]  # another process
    assert specs.load(kept, "spec.yaml") == only_mlp
    assert only_mlp.most_words == spec.most_words == 30
    assert "Net" not in specs.validate(SPEC | {"architectures": ["mlp"], "space": {}}).code.architectures


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["Net"]}, "spec: architectures: unknown architecture 'Net'"),  # though another spec had it
        ({"architectures": ["my_net.py:Nett"]}, "spec: architectures: {path} has no 'Nett' (did you mean 'Net'?)"),
        ({"architectures": ["my_net.py:Net", "other/my_net.py:Net"]}, "architectures: two are named 'Net'"),
        (
            {"architectures": ["taken.py:Net"]},
            "'schedule' is a built-in hyperparameter or metric: rename yours",
        ),
        *(
            ({"architectures": [f"{name}.py:Net"]}, f"{name!r} is a built-in hyperparameter or metric: rename yours")
            for name in COLUMNS
        ),
        ({"space": {"sise": 3}}, "spec: space: unknown hyperparameter 'sise' (did you mean 'size'?)"),
        ({"space": {"size": 1}}, "space.size must be a whole number from 2 to 64, got 1; did you mean 2? (for Net)"),
    ],
)
def test_a_spec_that_names_it_wrongly_is_one_line(
    changes: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_data.py").write_text(DATA, encoding="utf-8")
    (tmp_path / "my_metrics.py").write_text(COST, encoding="utf-8")
    path = tmp_path / "my_net.py"
    path.write_text(NET, encoding="utf-8")
    for file, name in [("taken", "schedule"), *zip(COLUMNS, COLUMNS, strict=True)]:
        (tmp_path / f"{file}.py").write_text(NET.replace("pooling", name), encoding="utf-8")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "my_net.py").write_text(NET, encoding="utf-8")
    specs.validate(SPEC)
    with pytest.raises(UserError, match=re.escape(message.format(path=path))) as error:
        specs.validate(SPEC | changes)
    assert "\n" not in str(error.value)


def corpus_of(body: str, name: str = "load") -> FunctionCorpus:
    return FunctionCorpus(plugins.Plugin(f"/somewhere/my_data.py:{name}", f"def {name}():\n    {body}\n"))


def test_a_function_is_a_corpus_with_splits_of_its_own() -> None:
    texts = "[f'text number {i} {{}}' for i in range(40)], [i % 2 == 0 for i in range(40)]"
    corpus = corpus_of(f"return {texts}".replace("{{}}", ""))
    read = corpus.read(Path(), progress=False)
    assert (read.classes, len(read.examples), read.test_examples, read.val_examples) == (
        ("False", "True"),
        40,
        None,
        None,
    )
    assert corpus.fingerprint() != corpus_of(f"return {texts}".replace("{{}}", "other")).fingerprint()
    splits = ", ".join(f"'{split}': ({texts.replace('{{}}', split)})" for split in ("train", "val", "test"))
    official = corpus_of(f"return {{{splits}}}").read(Path(), progress=False)
    division = split_examples(official, name="mine", limit=None)
    divided, num_duplicates = division.splits, division.understood.num_duplicates
    assert {split: len(divided[split]) for split in divided} == {"train": 40, "val": 40, "test": 40}
    assert all(split in text for split, examples in divided.items() for text, _ in examples)
    leaky = Texts(("a", "b"), official.examples, official.examples[:8], official.examples[:12])
    division = split_examples(leaky, name="mine", limit=None)
    divided, num_duplicates = division.splits, division.understood.num_duplicates
    assert ({split: len(divided[split]) for split in divided}, num_duplicates) == (
        {"train": 28, "val": 4, "test": 8},
        20,
    )


def test_a_function_runs_once_and_may_list_its_texts_in_any_order(tmp_path: Path) -> None:
    calls, order = tmp_path / "calls", tmp_path / "order"
    calls.write_text("", encoding="utf-8")
    order.write_text("1", encoding="utf-8")
    body = (
        f"import pathlib; calls, order = pathlib.Path({str(calls)!r}), pathlib.Path({str(order)!r})\n"
        "    calls.write_text(calls.read_text() + 'x')\n"
        "    return ['a', 'b', 'c'][::int(order.read_text())], [1, 0, 1]"
    )
    first, again = corpus_of(body).fingerprint(), corpus_of(body).fingerprint()
    assert (first, calls.read_text(encoding="utf-8")) == (again, "x")
    order.write_text("-1", encoding="utf-8")
    functions._call.cache_clear()  # as in another process
    assert (corpus_of(body).fingerprint(), calls.read_text(encoding="utf-8")) == (first, "xx")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return ['a'], ['b', 'c']", "my_data.py:load: train: each text needs a label; got 1 texts and 2 labels"),
        ("return ['a', 3], ['b', 'c']", "train: text 1 (from 0) should be a non-empty string; got 3"),
        ("return ['a', 'b'], ['c', 'c']", "my_data.py:load returns 1 classes; at least two are needed"),
        ("return 3", "train: should be two sequences, of texts and of labels; got int"),
        ("return {'trian': ([], [])}", "returns the unknown split 'trian' (did you mean 'train'?)"),
        ("return 1 / 0", "my_data.py, line 2: ZeroDivisionError: division by zero"),
    ],
)
def test_a_function_that_is_no_corpus_is_one_line(body: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as error:
        corpus_of(body).fingerprint()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cost.maximize = False", "", "cost should say whether more of it is better: cost.maximize = True or False"),
        ("cost.worst = 5", "", "cost should say what a trial that diverges is given: cost.worst = a number"),
        ("cost", "accuracy", "'accuracy' is a built-in one: give yours another name"),
    ],
)
def test_a_function_that_is_no_metric_is_one_line(old: str, new: str, message: str) -> None:
    name = "accuracy" if new == "accuracy" else "cost"
    with pytest.raises(UserError, match=re.escape(message)) as error:
        metrics.register(plugins.Plugin(f"my_metrics.py:{name}", COST.replace(old, new)))
    assert "\n" not in str(error.value)


def test_the_metrics_of_a_search_that_is_only_read_are_known_without_executing_them() -> None:
    metrics.register(plugins.Plugin("my_metrics.py:cost", COST))
    declared = metrics.declaration(["cost"])
    del metrics.METRICS["cost"]
    metrics.declare(declared)
    read = metrics.split_metric("val_cost")[1]
    assert (read.maximize, read.worst, read.label) == (False, 5.0, "cost of a text")
    assert read not in metrics.measured_in("classification")


def test_what_is_declared_takes_the_place_of_what_was_declared_but_not_of_a_function() -> None:
    right, wrong = '{"cost": [false, 5, ""]}', '{"cost": [true, 0, ""]}'
    metrics.declare(wrong)
    metrics.declare(right, again=False)
    assert metrics.METRICS["cost"].maximize
    metrics.declare(right)
    assert not metrics.METRICS["cost"].maximize
    metrics.register(plugins.Plugin("my_metrics.py:cost", COST))
    metrics.declare(wrong)
    assert not metrics.METRICS["cost"].maximize
    assert metrics.METRICS["cost"] in metrics.measured_in("classification")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of a finished search with an architecture from outside, whose file is gone."""
    cwd = tmp_path_factory.mktemp("outside")
    (cwd / "my_net.py").write_text(NET, encoding="utf-8")
    (cwd / "my_data.py").write_text(DATA, encoding="utf-8")
    (cwd / "my_metrics.py").write_text(COST, encoding="utf-8")
    (cwd / "spec.yaml").write_text(yaml.safe_dump(SPEC), encoding="utf-8")
    done = command("search", "run", "spec.yaml", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Net-0" in done.stdout[done.stdout.index("2 trials by val_cost") :]  # ranked
    (cwd / "my_net.py").unlink()
    (cwd / "my_data.py").unlink()
    (cwd / "my_metrics.py").unlink()
    return cwd


def folder_of(cwd: Path) -> Path:
    (folder,) = (cwd / "searches").iterdir()
    return folder


def test_a_search_is_audited_replayed_and_confirmed_without_the_file(finished: Path) -> None:
    folder, uri = folder_of(finished), f"sqlite:///{finished / 'mlflow.db'}"
    assert audit.audit(folder, uri) == []
    assert list(replay.replay(f"{folder.name}:Net-0", folder.parent, uri))[-1] == "Net-0: equal"
    confirmed = confirm.confirmation(folder, 1, 2, ["Net"])
    assert list((confirmed.configurations or {})["Net"]) == ["Net-0"]
    assert confirmed.code.architectures == {"Net": plugins.Plugin(f"{finished / 'my_net.py'}:Net", NET)}


@pytest.mark.slow
def test_a_search_goes_on_without_the_file_but_not_with_another(finished: Path) -> None:
    (finished / "my_net.py").write_text(NET + "# changed\n", encoding="utf-8")
    for arguments in (["resume", "--trials", "2"], ["confirm"]):
        refused = command("search", *arguments, folder_of(finished).name, cwd=finished)
        assert refused.returncode == 2
        assert re.search(r"^error: .*my_net\.py has changed since the search was started: .*$", refused.stderr)
    (finished / "my_net.py").unlink()
    done = command("search", "resume", "--trials", "2", cwd=finished)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Net-1" in done.stdout


@pytest.mark.slow
def test_a_model_is_explained_exported_and_loaded_where_nothing_of_it_is_known(finished: Path) -> None:
    explained = command("analysis", "explain", "latest:Net-0", "a great movie", cwd=finished)
    assert explained.returncode == 0, explained.stderr
    assert "integrated gradients" in explained.stdout
    folder, uri = folder_of(finished), f"sqlite:///{finished / 'mlflow.db'}"
    exported = export.export(folder.name, folder.parent, uri, "Net", calibrated=False)
    code = (
        "import mlflow, pandas, sys\n"
        "answer = mlflow.pyfunc.load_model(sys.argv[1]).predict(pandas.DataFrame({'text': ['a great movie']}))\n"
        "print(answer['probability of good'][0])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    done = subprocess.run(
        [sys.executable, "-c", code, exported.uri], cwd=finished, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    expected = loading.load(exported.trial).outputs(["a great movie"])[0, 1].item()
    assert float(done.stdout.split()[-1]) == pytest.approx(float(expected), abs=1e-6)


def test_code_that_only_mlflow_knows_is_not_executed(finished: Path) -> None:
    uri = f"sqlite:///{finished / 'mlflow.db'}"
    assert runs.find_search(uri).load_spec().code.architectures["Net"].source == NET
    away = (finished / "searches").rename(finished / "elsewhere")
    try:
        executed = set(sys.modules)
        with pytest.raises(UserError, match=r"ran user code \(Net, .*, cost\), which is executed only on the machine"):
            runs.find_search(uri).load_spec()
        done = command("analysis", "leaderboard", cwd=finished)
        assert (done.returncode, "Net-0" in done.stdout) == (0, True), done.stderr
        done = command("analysis", "report", cwd=finished)
        assert done.returncode == 0, done.stderr
        assert not [name for name in set(sys.modules) - executed if name.startswith("bakeoff_plugin")]
    finally:
        away.rename(finished / "searches")
