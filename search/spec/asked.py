"""What a search is asked for by a name: a spec, or texts, which a shipped spec searches."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import data
from data import CORPORA
from data.base.errors import UserError, did_you_mean
from data.base.plugins import is_reference
from search.spec.read import read, shipped
from search.spec.spec import Spec

OF_FILES, OF_CORPORA = "csv", "default"  # the shipped specs that a file, or a corpus by its name, is searched with
YAML = (".yaml", ".yml")


def spec_for(
    asked: str, overrides: Iterable[str] = (), *, keys: Mapping[str, Any] | None = None, files: bool = True
) -> Spec:
    """The spec that is asked for: a YAML file or a shipped one by its name; else that of a file of texts, whose search
    has the file's name, or of a corpus.

    The other arguments are those of `read`, and it raises as that does, and UserError for what is none of these.
    """
    keys = keys or {}
    if asked.endswith(YAML) or asked in (known := shipped()):
        return read(asked, overrides, keys=keys, files=files)
    if asked in CORPORA or is_reference(asked):
        return read(OF_CORPORA, overrides, keys={"corpus": asked, **keys}, files=files)
    if (file := data.file_of(asked)) and (file.expanduser().exists() or not files):
        name = re.sub(r"\W+", "-", file.name.partition(".")[0], flags=re.ASCII).strip("-_")[:64]
        own = {"corpus": asked, **({"name": name} if name else {})}
        return read(OF_FILES, overrides, keys=own | dict(keys), files=files)
    raise UserError(f"no spec, file or corpus {asked!r}{did_you_mean(asked, [*known, *CORPORA], else_all=False)}")
