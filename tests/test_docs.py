"""The pages that are written from the code are those of this code."""

import importlib.util
from types import ModuleType

import pytest
from conftest import ROOT

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
