"""Writes commands.md, spec.md and python.md from the code: `python docs/reference.py`; a test compares."""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
import yaml

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

import bakeoff  # noqa: E402
from bakeoff.__main__ import app  # noqa: E402
from search.spec.spec import Spec  # noqa: E402

FILLED_IN = "filled in"  # how the description of a key begins that nobody writes


def commands() -> str:
    """Every command with its arguments and options."""
    lines = [
        "# Commands",
        "",
        "Look up a command and its options. Run it as `bakeoff COMMAND`, or as `python -m bakeoff COMMAND` without "
        "installing; `--help` shows the same text. A search is named by its id, by the name of its spec (the newest "
        "search of that name), by its folder, or by `latest`. The exit status is 0 when a command did what it says, 1 "
        "when a run failed, and 2 when the call or the spec is wrong.",
        "",
    ]
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        arguments = [each for each in command.params if not each.hidden and each.param_type_name == "argument"]
        options = [each for each in command.params if not each.hidden and each.param_type_name == "option"]
        usage = " ".join(["bakeoff", name, *(_usage(each) for each in arguments)])
        lines += [f"## {name}", "", f"    {usage}{' [OPTIONS]' if options else ''}", "", command.help or "", ""]
        rows = [(f"`{each.name.upper()}`", _said(each)) for each in arguments]
        rows += [(_flags(each), _said(each)) for each in options]
        if rows:
            lines += ["| argument | meaning |", "| --- | --- |", *(f"| {one} | {two} |" for one, two in rows), ""]
    return "\n".join(lines)


def _usage(argument: Any) -> str:
    name = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _flags(option: Any) -> str:
    flags = ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))
    return flags if option.is_flag or not option.metavar else f"{flags} {_cell(option.metavar)}"


def _said(parameter: Any) -> str:
    shown = parameter.default
    known = shown is None or callable(shown) or isinstance(shown, bool) or not parameter.show_default
    return _cell(parameter.help or "") + ("" if known else f" (default: `{shown}`)")


def spec() -> str:
    """Every key of a spec, with its values and its default."""
    schema = Spec.model_json_schema()
    lines = [
        "# Spec",
        "",
        "Look up a key of a spec, the YAML file that defines a search. Every key has a default, and `--set key=value` "
        "changes one for a run. [default.yaml](../search/spec/shipped/default.yaml), the spec of `bakeoff run`, is a "
        "commented example.",
        "",
        "| key | values | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for name, written in schema["properties"].items():
        description = written.get("description", "")
        if not description or description.startswith(FILLED_IN):
            continue
        values = " or ".join(dict.fromkeys(_values(written, schema["$defs"])))
        default = yaml.safe_dump(written.get("default"), default_flow_style=True).removesuffix("...\n").strip()
        lines.append(f"| `{name}` | {_cell(values)} | `{default}` | {_cell(description)} |")
    return "\n".join([*lines, ""])


def _values(written: Mapping[str, Any], defined: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in written:
        parts = defined[written["$ref"].rpartition("/")[2]]["properties"]
        yield f"a mapping of {', '.join(f'`{name}`' for name in parts)}"
    for choice in written.get("anyOf", ()):
        yield from _values(choice, defined)
    if "enum" in written:
        yield ", ".join(f"`{value}`" for value in written["enum"])
        return
    if "const" in written:
        yield f"`{written['const']}`"
        return
    least, most = (written.get(key) for key in ("minimum", "maximum"))
    limits = f" from {least}" if least is not None else ""
    limits += f" to {most}" if most is not None else ""
    limits += f" below {written['exclusiveMaximum']}" if "exclusiveMaximum" in written else ""
    above = written.get("exclusiveMinimum", written.get("gt"))
    limits += f" above {above}" if above is not None else ""
    match written.get("type"):
        case "integer":
            yield f"a whole number{limits}"
        case "number":
            yield f"a number{limits}"
        case "boolean":
            yield "`true`, `false`"
        case "array":
            yield "a list"
        case "object":
            yield "a mapping"
        case "string":
            yield "text"


def python() -> str:
    """The API: what `bakeoff` has, and the methods of a search, with their docstrings, whose examples are tested."""
    lines = [
        "# Python",
        "",
        "Run and analyse searches from a notebook ([a tour](tour.ipynb)), a script or a thread.",
        "",
        *_documented(bakeoff, "bakeoff"),
    ]
    for name in ("run", "open", "data"):
        function = getattr(bakeoff, name)
        lines += [f"## bakeoff.{name}", "", *_signature(name, function), *_documented(function, name)]
    lines += ["## bakeoff.Search", "", *_documented(bakeoff.Search, "Search")]
    for name, member in vars(bakeoff.Search).items():
        if name.startswith("_") or not inspect.getdoc(member) or name == "recorded":
            continue
        lines += [f"### search.{name}", ""]
        if inspect.isfunction(member):
            lines += _signature(name, member)
        lines += _documented(member, name)
    lines += ["## bakeoff.UserError", "", *_documented(bakeoff.UserError, "UserError")]
    return re.sub(r" +\n", "\n", "\n".join(lines)).rstrip() + "\n"


def _signature(name: str, function: Any) -> list[str]:
    given = inspect.signature(function)
    parameters = [each.replace(annotation=inspect.Parameter.empty) for each in given.parameters.values()]
    shown = given.replace(
        parameters=[each for each in parameters if each.name != "self"], return_annotation=inspect.Signature.empty
    )
    return ["```python", f"{name}{shown}", "```", ""]


def _documented(thing: Any, name: str) -> list[str]:
    """A docstring as a page has it: examples in blocks, a paragraph on each parameter as an item of its own."""
    parts: list[str] = []
    for part in (inspect.getdoc(thing) or "").split("\n\n"):
        if part.startswith(">>>"):
            parts += ["```pycon", part, "```", ""]
        else:
            one_line = " ".join(part.split())
            items = re.sub(r"(^|(?<=\. ))([a-z_]+): ", r"\n- `\2`: ", one_line).strip()
            if "- `" in items:  # blank lines before the list, and before what is not about its last parameter
                items = re.sub(r"^([^-\n][^\n]*)\n- ", r"\1\n\n- ", items)
                items = re.sub(r" (?=(?:Returns|Raises|Afterwards,) )", "\n\n", items, count=1)
            parts += [items, ""]
    return parts


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {"commands.md": commands, "spec.md": spec, "python.md": python}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (DOCS / page).write_text(write(), encoding="utf-8")
