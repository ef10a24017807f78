"""docs/your-own-model.md does what it says: its files are written, its commands run, on few texts."""

import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, command

PAGE = (ROOT / "docs" / "your-own-model.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_page_from_an_empty_file_to_a_ranked_row(tmp_path: Path) -> None:
    network, *_ = blocks("python")
    corpus, metric = (next(block for block in blocks("python") if f"def {name}(" in block) for name in ("load", "cost"))
    (spec,) = blocks("yaml")
    (commands,) = blocks("sh")
    assert len(network.splitlines()) + len(spec.splitlines()) < 40
    (tmp_path / "my_net.py").write_text(network, encoding="utf-8")
    (tmp_path / "my_data.py").write_text(corpus, encoding="utf-8")
    (tmp_path / "my_metrics.py").write_text(metric, encoding="utf-8")
    # The corpus and the metric of the page, since they are fewer texts than ours.
    small = {"corpus": "my_data.py:load", "metrics": ["my_metrics.py:cost"], "metric": "val_cost", "trials": 1}
    content = yaml.safe_load(spec) | small | {"epochs": 2}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    said = []
    for line in commands.splitlines():
        program, *arguments = re.findall(r'"[^"]*"|\S+', line)
        done = command(program, *(argument.strip('"') for argument in arguments), cwd=tmp_path)
        assert done.returncode == 0, line + done.stdout + done.stderr
        said.append(done.stdout)
    checked, ran, explained, exported = said
    assert {line[:4] for line in checked.splitlines()} == {"ok  "}
    assert re.search(r"^ *\d+  Transformer-0 ", ran, re.MULTILINE)  # a ranked row
    assert "integrated gradients" in explained
    assert "is version 1 of the registered model mine" in exported
