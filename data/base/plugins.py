"""Plugins: an architecture, a corpus or a metric from a file outside the project.

A reference is `path/my_net.py:Name` or `package.module:Name`. Loading a plugin executes the source text of the file
under a private module name, so that the same text gives the same object everywhere: in a worker on another machine,
and years later from the copy that a search keeps. The file therefore has to be self-contained: it may import installed
packages, but no files from its own folder. This module imports nothing heavy.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib.metadata
import importlib.util
import inspect
import linecache
import re
import symtable
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from data.base.errors import UserError, did_you_mean
from data.base.imports import OURS, inside
from data.base.sources import existing_file

STANDS_ALONE = "only installed packages can be imported; put both into one file"
NOTEBOOK = "<notebook>"  # in place of the file name for definitions in a notebook cell
PACKAGE = __name__.removesuffix("data.base.plugins").rstrip(".")  # '' here; the package's name in an exported model

_executed: dict[str, ModuleType] = {}  # by name; every exported model has a copy of this module, and so of this dict


def is_reference(text: object) -> bool:
    """Whether a value has the form `path/file.py:Name` or `package.module:Name`."""
    return isinstance(text, str) and re.fullmatch(r"([^:]+\.py|\w+(\.\w+)+):\w+", text) is not None


@dataclass(frozen=True)
class Plugin:
    """An object from outside the project.

    reference: where it comes from, with an absolute path. source: the source text that defines it.
    """

    reference: str
    source: str

    @property
    def name(self) -> str:
        """'Transformer': its name in trials, studies, columns and keys of a spec."""
        return self.reference.rpartition(":")[2]

    @property
    def file(self) -> str:
        """'/home/me/my_net.py' or 'package.module'."""
        return self.reference.rpartition(":")[0]

    @property
    def digest(self) -> str:
        """The SHA-256 of the source, in hex."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    def packages(self) -> list[str]:
        """The distributions, by the names under which pip installs them, of the packages that the source imports."""
        nodes = list(ast.walk(ast.parse(self.source)))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
        owners = importlib.metadata.packages_distributions()
        distributions = [owners.get(name, []) for name in {name.partition(".")[0] for name in names} - {*OURS}]
        # A package that several distributions provide (a namespace package) is left out as ambiguous.
        return sorted({candidates[0] for candidates in distributions if len({*candidates}) == 1})

    def load(self) -> Any:
        """The object that the reference names; a source is executed once per process.

        Raises UserError, with the line in the file, if the source raises an exception or does not define the name.
        """
        public = {name: value for name, value in vars(self._execute()).items() if not name.startswith("__")}
        if self.name not in public:
            raise UserError(f"{self.file} has no {self.name!r}{did_you_mean(self.name, public)}")
        return public[self.name]

    def require_unchanged(self) -> None:
        """Raises UserError if the file has changed since it was read. If the file is gone, the copy is used."""
        try:
            current = read(self.reference)
        except UserError:
            return
        if current.source != self.source:
            raise UserError(
                f"{self.file} has changed since the search was started: its digest is {current.digest[:12]}, was "
                f"{self.digest[:12]}; put it back, or run a new search"
            )

    def _execute(self) -> ModuleType:
        name = f"bakeoff_plugin_{Path(self.file).stem}_{self.digest[:16]}"
        if name in _executed:
            sys.modules[name] = _executed[name]  # skops finds classes here; another model may have replaced the entry
            return _executed[name]
        module = ModuleType(name)
        module.__file__ = self.file
        if not self.file.endswith(".py"):
            module.__package__ = self.file.rpartition(".")[0]  # an installed module may import from its package
        lines = self.source.splitlines(keepends=True)
        linecache.cache[self.file] = (
            len(self.source),
            None,
            lines,
            self.file,
        )  # shows source lines in tracebacks even where the file does not exist
        sys.modules[name] = module  # dataclasses look up their module there
        try:
            tree = ast.parse(inside(self.source, PACKAGE), self.file)
            if self.file.endswith(".py"):
                _require_no_neighbour(tree, Path(self.file))
            exec(compile(tree, self.file, "exec", dont_inherit=True), vars(module))
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise error if isinstance(error, UserError) else UserError(self.explain(error)) from error
        _executed[name] = module
        return module

    def explain(self, error: BaseException) -> str:
        """An exception of the source on one line: '/home/me/my_net.py, line 3: NameError: name 'nn' is not defined'."""
        at = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.file]
        if isinstance(error, SyntaxError) and error.filename == self.file:
            at, message = [error.lineno], error.msg
        else:
            message = " ".join(str(error).split())
        missing = (getattr(error, "name", None) or "").partition(".")[0]
        hint = ""
        if isinstance(error, ModuleNotFoundError) and self.file.endswith(".py"):
            beside = [Path(self.file).with_name(name) for name in (f"{missing}.py", missing)]
            hint = f"; {STANDS_ALONE}" + f" ({missing!r} is a file beside it)" * any(path.exists() for path in beside)
        return f"{self.file}, line {at[-1] if at else 1}: {type(error).__name__}: {message}{hint}"


def _require_no_neighbour(tree: ast.Module, file: Path) -> None:
    """Raises UserError if the file imports a file from its own folder, which would fail in every worker."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for name in filter(None, (name.partition(".")[0] for name in names)):
            beside = (file.with_name(f"{name}.py"), file.with_name(name) / "__init__.py")
            spec = importlib.util.find_spec(name) if name not in sys.modules else sys.modules[name].__spec__
            if spec is not None and Path(spec.origin or "").absolute() in beside:
                raise UserError(f"{file}, line {node.lineno}: imports {name!r}, a file beside it; {STANDS_ALONE}")


def read(reference: str) -> Plugin:
    """Reads the plugin of a reference. Raises UserError if there is no such file or module.

    The plugin is not executed; for `package.module:Name` the parent packages are imported to find the module.
    """
    file, _, name = reference.rpartition(":")
    if not file or not name.isidentifier():
        raise UserError(f"{reference!r} should have the form path/file.py:Name or package.module:Name")
    if file.endswith(".py"):
        path = existing_file(Path(file).expanduser().absolute())
        file = str(path)
    else:
        path = _file_of_module(file)
    try:
        source = importlib.util.decode_source(path.read_bytes())
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    return Plugin(f"{file}:{name}", source)


def _file_of_module(module: str) -> Path:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # its package does not exist, or is not a package
        spec = None
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{module}: its package {module.rpartition('.')[0]} cannot be imported: {reason}") from error
    if spec is None or not (spec.origin or "").endswith(".py"):
        raise UserError(f"no module {module!r} is installed; for a file write path/{module}.py:Name")
    return Path(str(spec.origin))


def of(definition: Any) -> Plugin:
    """The plugin of a class or function in this process, read from the file or the notebook cell that defines it.

    From a cell only the definition is taken, with the imports and definitions of that cell that it uses. Raises
    UserError if its source cannot be found, or if it uses names that the cell does not define.
    """
    name = definition.__qualname__
    if not name.isidentifier():
        raise UserError(
            f"{name} should be defined at the top level of a file or a cell, not inside a function or class"
        )
    module = sys.modules.get(definition.__module__)
    file = getattr(module, "__file__", None)
    if definition.__module__ != "__main__" and file is not None:
        return read(f"{definition.__module__ if '.' in definition.__module__ else file}:{name}")
    cell = _cell(definition)
    if not cell:
        raise UserError(f"the source of {name} cannot be found: write it into a file, and give 'my_file.py:{name}'")
    return Plugin(f"{NOTEBOOK}:{name}", stand_alone(cell, name))


def _cell(definition: Any) -> str:
    """The source of the cell that defines a class or function; '' if it cannot be found."""
    candidates = [definition, *vars(definition).values()] if isinstance(definition, type) else [definition]
    functions = [inspect.unwrap(candidate) for candidate in candidates]
    for code in (function.__code__ for function in functions if isinstance(function, FunctionType)):
        if code.co_qualname.partition(".")[0] == definition.__name__:  # skips functions that were defined elsewhere
            return "".join(linecache.getlines(code.co_filename))
    # Entries without a modification time are no files but cells, in the order in which they were run.
    cells = ["".join(entry[2]) for entry in linecache.cache.values() if len(entry) > 1 and entry[1] is None]
    heading = re.compile(rf"^class {definition.__name__}\b", re.MULTILINE)
    return next((cell for cell in reversed(cells) if heading.search(cell)), "")


def stand_alone(cell: str, name: str) -> str:
    """The lines of a cell that a definition depends on; the other lines are left blank to keep the line numbers.

    These are the statements that define the names which it uses, and those that modify them, such as `net.size = 3` or
    `sizes.append(3)`. Raises UserError if the cell does not define all of these names.
    """
    statements = [(node, *_names(node)) for node in ast.parse(cell).body]
    defined = {symbol: node for node, defines, _ in statements for symbol in defines}
    imports = [node for node, _, _ in statements if isinstance(node, ast.Import | ast.ImportFrom)]
    always = [node for node in imports if getattr(node, "module", None) == "__future__" or node.names[0].name == "*"]
    imported = {
        symbol for symbol, node in defined.items() if node in imports
    }  # bakeoff.run(...) modifies none of these
    kept: set[ast.stmt] = set(always)
    wanted, missing = [name], set()
    while wanted:
        used = wanted.pop()
        if used not in defined and used not in vars(builtins) and not (used.startswith("__") and used.endswith("__")):
            missing.add(used)
        for node, defines, uses in statements:
            if used in defines | (_changes(node) - imported) and node not in kept:
                kept.add(node)
                wanted += uses
    if missing and not any(node.names[0].name == "*" for node in always):
        raise UserError(
            f"{name} uses {', '.join(sorted(missing))}, which its cell does not define: put all imports and "
            "definitions that it needs into one cell"
        )
    lines = {number for node in kept for number in range(_first_line(node), (node.end_lineno or 0) + 1)}
    numbered = enumerate(cell.split("\n"), 1)
    return "\n".join(line if number in lines else "" for number, line in numbered).rstrip() + "\n"


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _changes(node: ast.stmt) -> set[str]:
    """The names of objects that a statement modifies: it sets an attribute or element, or calls a method."""
    places: list[ast.AST] = []
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete):
        places = [part for part in ast.walk(node) if isinstance(getattr(part, "ctx", None), ast.Store | ast.Del)]
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        places = [node.value.func]
    roots = set()
    for root in places:
        while isinstance(root, ast.Attribute | ast.Subscript):
            root = root.value
            if isinstance(root, ast.Name):
                roots.add(root.id)
    return roots


def _names(node: ast.stmt) -> tuple[set[str], set[str]]:
    """The module-level names that a top-level statement defines, and those it uses, including in nested functions."""
    top = symtable.symtable(ast.unparse(node), "cell", "exec")
    defines = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    uses = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    tables = top.get_children()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        uses |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()}
    return defines, uses
