"""External code that a spec refers to: it is loaded, and its source is stored in the spec.

So a frozen spec is self-contained: workers, models that are read back, and other machines create the same objects from
it, even if the files have moved.
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
from search.base import schema
from search.train import metrics
from search.train.config import learner


def _register_architecture(plugin: Plugin, *, kept: bool = False) -> None:
    models.register(plugin.name, plugin.load(), plugin.reference, kept=kept)
    taken = {*metrics.measures(), *(option.name for option in learner(plugin.name).training)}.union(*schema.COLUMNS)
    for name in models.architecture(plugin.name).hyperparameters:
        if name in taken:
            raise UserError(f"{plugin.reference}: {name!r} is a built-in hyperparameter or metric: rename yours")


#: Key of a spec -> the function that registers a plugin, for all keys that may refer to code from outside.
REGISTER = {
    "architectures": _register_architecture,
    "corpus": data.register,
    "tokenizer": text.require_function,
    "vectors": data.register_vectors,
    "metrics": metrics.register,
}
#: Keys with a single plugin, which a spec identifies by its full reference; other plugins are identified by name.
BY_REFERENCE = ("corpus", "tokenizer", "vectors")
#: Keys whose built-in names may contain a colon, before a path.
WITH_PREFIXES = ("corpus", "vectors")
#: Replaces REGISTER for sources stored in a spec, which may be older than a built-in object of the same name.
KEPT = {"architectures": partial(_register_architecture, kept=True)}


class Code(BaseModel):
    """The sources of plugins, by key of the spec and by name. Creating this object registers them."""

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
        """SHA-256 by key and name, which must not change when a search is resumed."""
        return {key: {name: plugin.digest for name, plugin in sources.items()} for key, sources in self if sources}


def find(architecture: str) -> Any:
    """The architecture class for a reference or a built-in name. Raises UserError if there is none."""
    if ":" not in architecture:
        return models.architecture(architecture)
    plugin = plugins.read(architecture)
    _register_architecture(plugin)
    return models.architecture(plugin.name)


def take_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """Replaces references, classes and functions in the content of a spec by names, and adds their sources as `code`.

    A corpus, a tokenizer and vectors are replaced by their full references, others by their names. Raises UserError for
    code that cannot be found or executed, and for two plugins with the same name.
    """
    changed: dict[str, Any] = {}
    code: dict[str, dict[str, Plugin]] = {}
    # Architectures in max_words are kept even if they are not searched, as in a confirmation of others.
    words = content.get("max_words")
    also = {"architectures": words if isinstance(words, dict) else ()}
    for key, known in Code.model_validate(content.get("code") or {}):
        if key in content:
            many = isinstance(content[key], list | tuple)
            written = list(content[key]) if many else [content[key]]
            code[key] = {name: plugin for name, plugin in known.items() if name in (*written, *also.get(key, ()))}
            names = [_name(key, value, code[key]) for value in written]
            changed[key] = names if many else names[0]
    models.reset()  # removes architectures that an earlier spec registered
    return {**content, **changed, "code": Code(**code)}


def _name(key: str, value: Any, sources: dict[str, Plugin]) -> Any:
    """The name of a value in a spec; a plugin is registered and added to `sources`."""
    is_reference = isinstance(value, str) and (plugins.is_reference(value) if key in WITH_PREFIXES else ":" in value)
    if (isinstance(value, str) and value in sources) or not (is_reference or callable(value)):
        return value
    try:
        plugin = plugins.of(value) if callable(value) else plugins.read(value)
        REGISTER[key](plugin)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
    name = plugin.reference if key in BY_REFERENCE else plugin.name
    if sources.setdefault(name, plugin) != plugin:
        raise UserError(f"{key}: two are named {name!r}, in {sources[name].file} and {plugin.file}; rename one")
    return name


def require_unchanged(code: Code) -> None:
    """Raises UserError if a file still exists but has changed since the search was started."""
    for plugin in code.plugins:
        plugin.require_unchanged()
