"""Moves a copy of the project's code into the package of an exported model.

The copy then conflicts neither with an application's packages `data` or `models` nor with other versions of this
project.
"""

from __future__ import annotations

import ast
import re

#: Packages of the project whose code goes into exported models.
OURS = ("data", "models", "search")


def inside(source: str, package: str) -> str:
    """The source with its imports of OURS redirected to `package`; line numbers stay the same. If `package` is '',
    nothing changes.

    Raises SyntaxError if the source is not valid Python.
    """
    if not package:
        return source
    lines = source.encode().splitlines(keepends=True)  # columns of the syntax tree count bytes
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    content = b"".join(lines)
    changes: list[tuple[int, int, bytes]] = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        statement = content[start:end].decode()
        if isinstance(node, ast.ImportFrom):
            ours = node.level == 0 and _is_ours(node.module or "")
            moved = re.sub(r"\Afrom(\s+)", rf"from\1{package}.", statement) if ours else statement
        else:
            ours = any(_is_ours(alias.name) for alias in node.names)
            moved = "; ".join(_moved(alias, package) for alias in node.names) if ours else statement
        changes.append((start, end, moved.encode()))
    for start, end, statement_bytes in sorted(changes, reverse=True):
        content = content[:start] + statement_bytes + content[end:]
    return content.decode()


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in OURS


def _moved(alias: ast.alias, package: str) -> str:
    """A separate statement for one name of an `import` statement."""
    renamed = f" as {alias.asname}" if alias.asname else ""
    first, dot, _ = alias.name.partition(".")
    if not _is_ours(alias.name):
        return f"import {alias.name}{renamed}"
    if not dot:
        return f"from {package} import {first}{renamed}"
    if renamed:
        return f"import {package}.{alias.name}{renamed}"
    return f"import {package}.{alias.name}; from {package} import {first}"  # `import a.b` also binds the name `a`
