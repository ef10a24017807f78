"""The pages that are written from the code are up to date, and the commands on the others exist."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer
from conftest import ROOT

from bakeoff.__main__ import app

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["commands.md", "spec.md", "python.md"])
def test_pages_from_the_code_are_up_to_date(page: str, reference: ModuleType) -> None:
    written = (DOCS / page).read_text(encoding="utf-8")
    assert written == reference.PAGES[page](), "run `make docs`"


def test_every_key_and_option_is_described(reference: ModuleType) -> None:
    assert not [line for line in reference.commands().splitlines() if line.endswith("|  |")]
    undescribed = {name for name, field in reference.Spec.model_fields.items() if not field.description}
    assert not undescribed


@pytest.mark.slow
def test_the_site_is_built_without_a_broken_link(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "your-own-data" / "index.html").is_file()


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")]
CALL = re.compile(
    r"(?:^ *|`|&& |\$ )(?:bakeoff|python -m (?:bakeoff|search|analysis)) ([a-z][a-z-]*)((?:[^`\n\\]|\\\n)*)",
    re.MULTILINE,
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_exists_with_its_options(page: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, rest in CALL.findall(page.read_text(encoding="utf-8")):
        known = {flag for each in commands[name].params for flag in (*each.opts, *each.secondary_opts)}
        given = re.findall(r"(?<= |\[)--[a-z-]+", rest.partition("#")[0])
        assert {*given} <= known | {"--help"}, f"{name}{rest}"


def test_the_readme_is_a_page_that_is_read_at_once() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert lines[-1] == "No licence has been chosen yet."


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_the_links_of_the_pages_outside_the_site_lead_somewhere(name: str) -> None:
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", (ROOT / name).read_text(encoding="utf-8")):
        target = ROOT / path
        assert target.exists(), path
        if anchor:
            titles = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
