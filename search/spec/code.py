"""What a spec names that is not ours: found where it is written, and its source kept in the spec.

So a frozen spec is all that a search needs: its workers, its models when they are read back, and another machine make
the same things from it, wherever the files are by then.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

import data
import models
from data import text
from data.base import plugins
from data.base.errors import UserError
from data.base.plugins import Plugin
from search.base import record
from search.train import metrics
from search.train.config import learner


def _take_in_architecture(plugin: Plugin, *, kept: bool = False) -> None:
    models.register(plugin.name, plugin.load(), plugin.reference, kept=kept)
    taken = {*metrics.measures(), *(each.name for each in learner(plugin.name).training)}.union(*record.COLUMNS)
    for name in models.architecture(plugin.name).hyperparameters:
        if name in taken:
            raise UserError(f"{plugin.reference}: {name!r} is a built-in hyperparameter or metric: rename yours")


#: Of each key of a spec that may name what is not ours: how that is taken in.
REGISTER = {
    "architectures": _take_in_architecture,
    "corpus": data.register,
    "tokenizer": text.require_function,
    "vectors": data.register_vectors,
    "metrics": metrics.register,
}
#: Those of which there is one, which goes by its whole reference: others go by their names.
BY_REFERENCE = ("corpus", "tokenizer", "vectors")
#: Those whose names of ours may have colons, before a path.
WITH_PREFIXES = ("corpus", "vectors")
#: The same of sources that a spec has kept, where that differs: its names may be older than ours.
KEPT = {"architectures": partial(_take_in_architecture, kept=True)}


class Code(BaseModel):
    """The sources of a spec, by key and by what they are called there. They are taken in as soon as this is made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architectures: dict[str, Plugin] = {}
    corpus: dict[str, Plugin] = {}  # at most one
    tokenizer: dict[str, Plugin] = {}  # at most one
    vectors: dict[str, Plugin] = {}  # at most one
    metrics: dict[str, Plugin] = {}

    @model_validator(mode="after")
    def _register(self) -> "Code":
        for key, sources in self:
            for plugin in sources.values():
                KEPT.get(key, REGISTER[key])(plugin)
        return self

    @property
    def plugins(self) -> list[Plugin]:
        return [plugin for _, sources in self for plugin in sources.values()]

    @property
    def digests(self) -> dict[str, dict[str, str]]:
        """SHA-256 by key and name: what is compared when a search goes on."""
        return {key: {name: plugin.digest for name, plugin in sources.items()} for key, sources in self if sources}


def find(architecture: str) -> Any:
    """The class of a reference or of one of ours. Raises UserError."""
    if ":" not in architecture:
        return models.architecture(architecture)
    plugin = plugins.read(architecture)
    _take_in_architecture(plugin)
    return models.architecture(plugin.name)


def take_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a spec with names in place of references, classes and functions, and their sources under `code`.

    A corpus, a tokenizer and vectors go by their whole references, all others by their names. Raises UserError for
    what cannot be found or executed, and for two things of one name.
    """
    changed: dict[str, Any] = {}
    code: dict[str, dict[str, Plugin]] = {}
    # The words of an architecture that is searched no longer, as in the confirmation of others, stay and count.
    words = content.get("max_words")
    also = {"architectures": words if isinstance(words, dict) else ()}
    for key, known in Code.model_validate(content.get("code") or {}):
        if key in content:
            many = isinstance(content[key], list | tuple)
            written = list(content[key]) if many else [content[key]]
            code[key] = {name: plugin for name, plugin in known.items() if name in (*written, *also.get(key, ()))}
            names = [_name(key, each, code[key]) for each in written]
            changed[key] = names if many else names[0]
    models.reset()  # another spec may have had an architecture of its own by such a name
    return {**content, **changed, "code": Code(**code)}


def _name(key: str, each: Any, sources: dict[str, Plugin]) -> Any:
    """What a spec calls something; what is not ours is entered in `sources`."""
    is_reference = isinstance(each, str) and (plugins.is_reference(each) if key in WITH_PREFIXES else ":" in each)
    if (isinstance(each, str) and each in sources) or not (is_reference or callable(each)):
        return each
    try:
        plugin = plugins.of(each) if callable(each) else plugins.read(each)
        REGISTER[key](plugin)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
    name = plugin.reference if key in BY_REFERENCE else plugin.name
    if sources.setdefault(name, plugin) != plugin:
        raise UserError(f"{key}: two are named {name!r}, in {sources[name].file} and {plugin.file}; rename one")
    return name


def require_unchanged(code: Code) -> None:
    """Raises UserError if a file that is still there is not what a search was started with."""
    for plugin in code.plugins:
        plugin.require_unchanged()
