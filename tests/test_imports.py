"""The arrows of the house: data and models <- search <- analysis <- bakeoff, and floors inside search and analysis.

An import in a function counts, and so do `importlib.import_module` and a module named in a command line. A
`__main__.py` is exempt from what concerns cycles: nothing imports it.
"""

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("data", "models", "search", "analysis", "bakeoff")
#: What each package may import besides itself.
BELOW = {
    "data": set(),
    "models": set(),
    "search": {"data", "models"},
    "analysis": {"data", "models", "search"},
    "bakeoff": {"data", "models", "search", "analysis"},
}
#: The leaves that the models import as well: what a mistake is, and where files are kept.
SHARED = {"data.base.errors", "data.base.files"}
#: Inside a package a folder imports only those before it.
FLOORS = {
    "search": ["base", "train", "spec", "study", "simulate", "track", "tune", "cluster", "run", "serve", "prove"],
    "analysis": ["base", "boards", "verdicts", "figures", "explain", "course_report", "report"],
    "models": ["native", "parts", "baselines"],
    "data": ["base", "corpora", "inspecting"],
}
HEAVY = {"ray", "optuna", "mlflow"}


@cache
def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imported(source: str) -> Iterator[str]:
    """The modules and names that some code imports, by statements, by importlib, and by the command lines in it."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            # `from search.base import ` imports search.base.schema
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))
        elif isinstance(node, ast.List | ast.Tuple):
            parts = [part.value if isinstance(part, ast.Constant) else None for part in node.elts]
            yield from (f"{name}.__main__" for flag, name in itertools.pairwise(parts) if flag == "-m" and name)


def dependencies(name: str) -> set[str]:
    """The product's modules that this one imports."""
    found = set()
    for each in imported(modules()[name].read_text(encoding="utf-8")):
        module = each if each in modules() else each.rpartition(".")[0]
        if module in modules() and module != name:
            found.add(module)
    return found


def is_entry_point(name: str) -> bool:
    return modules()[name].name == "__main__.py"


def test_the_test_sees_every_way_to_import() -> None:
    code = (
        "import a.b\nfrom c import d\nimport_module('e.f')\nsubprocess.run([sys.executable, '-m', 'g', 'h'])\n"
        "def late():\n    from i import j\n"
    )
    assert set(imported(code)) == {"a.b", "c.d", "e.f", "g.__main__", "i.j"}


def test_imports_go_one_way() -> None:
    wrong = [
        f"{name} imports {other}"
        for name in modules()
        if not is_entry_point(name)
        for other in dependencies(name)
        if other.split(".")[0] not in {*BELOW[name.split(".")[0]], name.split(".")[0]} and other not in SHARED
    ]
    assert wrong == []


@pytest.mark.parametrize("package", FLOORS)
def test_a_folder_imports_only_those_before_it(package: str) -> None:
    floors = FLOORS[package]
    folders = {path.name for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()}
    assert folders == set(floors)

    def floor(name: str) -> int | None:
        parts = name.split(".")
        return floors.index(parts[1]) if parts[0] == package and len(parts) > 1 and parts[1] in floors else None

    wrong = [
        f"{name} imports {other}"
        for name in modules()
        for other in dependencies(name)
        if (own := floor(name)) is not None and (its := floor(other)) is not None and its > own
    ]
    assert wrong == []


def test_no_file_and_no_folder_imports_itself_by_way_of_others() -> None:
    files = {name: dependencies(name) for name in modules() if not is_entry_point(name)}
    folders: dict[str, set[str]] = {}
    for name, others in files.items():
        own = str(modules()[name].parent)
        to = {str(modules()[other].parent) for other in others if not is_entry_point(other)}
        folders.setdefault(own, set()).update(to - {own})
    for graph in (files, folders):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as cycle:
            pytest.fail(" -> ".join(cycle.args[1]))


def test_data_and_models_and_training_know_neither_ray_nor_optuna_nor_mlflow() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, path in modules().items()
        if name.startswith(("data", "models", "search.train", "search.base"))
        for other in imported(path.read_text(encoding="utf-8"))
        if other.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_only_their_owners_touch_torchtext_and_mlflow() -> None:
    owners: dict[str, set[str]] = {"torchtext": set(), "mlflow": set()}
    for name, path in modules().items():
        for other in imported(path.read_text(encoding="utf-8")):
            owners.get(other.partition(".")[0], set()).add(".".join(name.split(".")[:2]))
    assert owners["torchtext"] == {"data.text"}
    assert owners["mlflow"] == {"search.track", "search.serve", "analysis.base", "analysis.explain"}


@pytest.mark.parametrize(
    "module",
    [
        "search.serve.loading",
        "search.study.ranking",
        "search.study.trial",
        "search.train.running",
        "search.train.training",
    ],
)
def test_a_model_is_trained_and_read_without_what_runs_searches(module: str) -> None:
    code = f"import sys, {module}; print({HEAVY!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize("module", ["search", "analysis", "bakeoff"])
def test_help_waits_for_no_heavy_import(module: str) -> None:
    code = (
        f"import sys, runpy; sys.argv = ['{module}', '--help']\n"
        "try: runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as done: assert not done.code, done.code\n"
        "print('heavy:', {'torch', 'ray', 'mlflow', 'optuna', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "heavy: set()", done.stdout + done.stderr


def test_no_module_is_without_a_docstring_that_says_what_it_is_for() -> None:
    silent = [
        name
        for name, path in modules().items()
        if (source := path.read_text(encoding="utf-8")).strip() and not re.match(r'"""\w', source)
    ]
    assert silent == []
