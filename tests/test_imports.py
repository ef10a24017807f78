"""Imports go one way: data and models are leaves, search imports both, analysis reads only the names of records.

What explains or compares trained models has to read them: a few modules of the analysis import `search.trained` and
`search.classifier`, which import neither Ray nor Optuna nor MLflow, and some of these `data` and `models`.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("data", "models", "search", "analysis")
NAMES_ONLY = {"search.record", "search.console"}  # light leaves of search
MODELS = {"search.trained", "search.classifier", "search.tasks"}
READ_MODELS = {"__main__.py", "choice.py", "explain.py", "drawing.py", "disagree.py", "inspection.py", "memory.py"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            # `from search import record` imports search.record
            yield from (f"{module}.{alias.name}" if module in PACKAGES else module for alias in node.names)


def forbidden(path: Path, module: str) -> bool:
    package, _, _ = module.partition(".")
    within = path.relative_to(ROOT).parts[0]
    if within in ("data", "models"):
        return package in set(PACKAGES) - {within} | {"ray", "mlflow", "optuna"}
    if within == "search":
        return package == "analysis"
    if package in ("data", "models"):
        return path.name not in READ_MODELS - {"__main__.py", "choice.py"}
    allowed = NAMES_ONLY | (MODELS if path.name in READ_MODELS else set())
    return package == "search" and not any(module == name or module.startswith(name + ".") for name in allowed)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}" for path in files for name in imported(path) if forbidden(path, name)
    ]
    assert wrong == []


def test_only_their_owners_touch_torchtext_and_mlflow() -> None:
    users: dict[str, set[str]] = {"torchtext": set(), "mlflow": set()}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for module in imported(path):
                users.get(module.partition(".")[0], set()).add(str(path.relative_to(ROOT)))
    mlflow = {"search/tracking.py", "search/export.py", "search/served.py", "analysis/runs.py", "analysis/predict.py"}
    assert users == {"torchtext": {"data/text.py"}, "mlflow": mlflow}


def test_a_trained_model_is_read_without_what_runs_searches() -> None:
    code = "import sys, search.trained; print({'ray', 'optuna', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize("module", ["search", "analysis"])
def test_help_waits_for_no_heavy_import(module: str) -> None:
    code = (
        f"import sys, runpy; sys.argv = ['{module}', '--help']\n"
        "try: runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as done: assert not done.code, done.code\n"
        "print('heavy:', {'torch', 'ray', 'mlflow', 'optuna', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "heavy: set()", done.stdout + done.stderr
