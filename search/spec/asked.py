"""Resolves the argument of a command that starts a search: a spec, or a corpus, for which a shipped spec is used."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import data
from data import CORPORA
from data.base.errors import UserError, did_you_mean
from data.base.plugins import is_reference
from search.spec.read import read, shipped
from search.spec.spec import Spec

OF_FILES, OF_CORPORA = "csv", "default"  # the shipped specs for files, and for corpora by name
YAML = (".yaml", ".yml")


def spec_for(
    source: str, overrides: Iterable[str] = (), *, keys: Mapping[str, Any] | None = None, files: bool = True
) -> Spec:
    """The spec for a YAML file, the name of a shipped spec, the name of a corpus, or a file of texts (whose name the
    search then gets).

    The other arguments are those of `read`. Raises UserError if the argument is none of these, or as `read` does.
    """
    keys = keys or {}
    if source.endswith(YAML) or source in (known := shipped()):
        return read(source, overrides, keys=keys, files=files)
    if source in CORPORA or is_reference(source):
        return read(OF_CORPORA, overrides, keys={"corpus": source, **keys}, files=files)
    if (file := data.file_of(source)) and (file.expanduser().exists() or not files):
        name = re.sub(r"\W+", "-", file.name.partition(".")[0], flags=re.ASCII).strip("-_")[:64]
        defaults = {"corpus": source, **({"name": name} if name else {})}
        return read(OF_FILES, overrides, keys=defaults | dict(keys), files=files)
    raise UserError(f"no spec, file or corpus {source!r}{did_you_mean(source, [*known, *CORPORA], else_all=False)}")
