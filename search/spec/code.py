"""What a spec names that is not ours: found where it is written, and its source kept in the spec.

So a frozen spec is all that a search needs: its workers, its models when they are read back, and another machine make
the same things from it, wherever the files are by then.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

import models
from data.base import plugins
from data.base.errors import UserError
from data.base.plugins import Plugin


def _take_in_architecture(plugin: Plugin) -> None:
    models.register(plugin.name, plugin.load(), plugin.reference)


#: Of each key of a spec that may name what is not ours: how that is taken in.
REGISTER = {"architectures": _take_in_architecture}


class Code(BaseModel):
    """The sources of a spec, by the names that they have in it. They are taken in as soon as this is made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architectures: dict[str, Plugin] = {}

    @model_validator(mode="after")
    def _register(self) -> "Code":
        for key, register in REGISTER.items():
            for plugin in getattr(self, key).values():
                register(plugin)
        return self

    @property
    def plugins(self) -> list[Plugin]:
        return list(self.architectures.values())

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 by name: what is compared when a search goes on."""
        return {plugin.name: plugin.digest for plugin in self.plugins}


def find(architecture: str) -> Any:
    """The class of a reference or of one of ours. Raises UserError."""
    if ":" not in architecture:
        return models.architecture(architecture)
    plugin = plugins.read(architecture)
    _take_in_architecture(plugin)
    return models.architecture(plugin.name)


def take_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a spec with names in place of references, classes and functions, and their sources under `code`.

    Raises UserError for what cannot be found or executed, and for two things of one name.
    """
    given = content.get("code") or {}
    code: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {}
    found: dict[str, Plugin] = {}

    def name_of(key: str, each: Any) -> Any:
        if not callable(each) and not (isinstance(each, str) and ":" in each):
            return each
        try:
            plugin = plugins.of(each) if callable(each) else plugins.read(each)
            REGISTER[key](plugin)
        except UserError as error:
            raise UserError(f"{key}: {error}") from None
        if found.setdefault(plugin.name, plugin) != plugin:
            raise UserError(f"{key}: two are named {plugin.name!r}: {plugin.file} and {found[plugin.name].file}")
        code[key] = {**code.get(key, {}), plugin.name: plugin}
        return plugin.name

    names = {
        key: [name_of(key, each) for each in content[key]] for key in REGISTER if isinstance(content.get(key), list)
    }
    return {**content, **names, **({"code": Code.model_validate(code)} if found else {})}


def require_unchanged(code: Code) -> None:
    """Raises UserError if a file that is still there is not what a search was started with."""
    for plugin in code.plugins:
        plugin.require_unchanged()
