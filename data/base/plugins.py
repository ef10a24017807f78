"""Other people's code: an architecture, a corpus or a metric from a file outside the project.

A reference is `path/my_net.py:Name` or `package.module:Name`. What it names is made by executing the file's text under
a private module name, so that the same text gives the same thing everywhere: in a worker on another machine, and years
later from the copy that a search keeps. So a file stands alone: it imports installed packages, never the files beside
it. Imports nothing heavy.
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
NOTEBOOK = "<notebook>"  # stands for the file of what was defined in a cell
PACKAGE = __name__.removesuffix("data.base.plugins").rstrip(".")  # that this code is in: of an exported model, or none

_executed: dict[str, ModuleType] = {}  # by name; each exported model in a process has its own


def is_reference(text: object) -> bool:
    """Whether it has the form `path/file.py:Name` or `package.module:Name`."""
    return isinstance(text, str) and re.fullmatch(r"([^:]+\.py|\w+(\.\w+)+):\w+", text) is not None


@dataclass(frozen=True)
class Plugin:
    """One thing from outside. reference: where it came from, paths absolute; source: the text that makes it."""

    reference: str
    source: str

    @property
    def name(self) -> str:
        """'Transformer': what trials, studies, columns and keys of a spec call it."""
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
        """Those that the source imports anywhere, by the names that they are installed by; none of Python's own."""
        nodes = list(ast.walk(ast.parse(self.source)))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
        owners = importlib.metadata.packages_distributions()
        found = [owners.get(name, []) for name in {each.partition(".")[0] for each in names} - {*OURS}]
        return sorted({each[0] for each in found if len({*each}) == 1})  # of several it is not known which

    def load(self) -> Any:
        """What the reference names; a source is executed once in a process.

        Raises UserError, with the line in the file, when the source raises or has nothing of that name.
        """
        public = {name: each for name, each in vars(self._execute()).items() if not name.startswith("__")}
        if self.name not in public:
            raise UserError(f"{self.file} has no {self.name!r}{did_you_mean(self.name, public)}")
        return public[self.name]

    def require_unchanged(self) -> None:
        """Raises UserError if its file is there and is not what was read; where it is gone the copy stands for it."""
        try:
            now = read(self.reference)
        except UserError:
            return
        if now.source != self.source:
            raise UserError(
                f"{self.file} has changed since the search was started: its digest is {now.digest[:12]}, was "
                f"{self.digest[:12]}; put it back, or run a new search"
            )

    def _execute(self) -> ModuleType:
        name = f"bakeoff_plugin_{Path(self.file).stem}_{self.digest[:16]}"
        if name in _executed:
            sys.modules[name] = _executed[name]  # where skops looks for its classes; other models may have taken it
            return _executed[name]
        module = ModuleType(name)
        module.__file__ = self.file
        if not self.file.endswith(".py"):
            module.__package__ = self.file.rpartition(".")[0]  # it may import its own package where that is installed
        lines = self.source.splitlines(keepends=True)
        linecache.cache[self.file] = (len(self.source), None, lines, self.file)  # for tracebacks where no file is
        sys.modules[name] = module  # dataclasses look themselves up there
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
        """What it raised, in a line: '/home/me/my_net.py, line 3: NameError: name 'nn' is not defined'."""
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
    """Raises UserError for an import that works here and would in no worker: of what lies beside the file."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for name in filter(None, (each.partition(".")[0] for each in names)):
            beside = (file.with_name(f"{name}.py"), file.with_name(name) / "__init__.py")
            found = importlib.util.find_spec(name) if name not in sys.modules else sys.modules[name].__spec__
            if found is not None and Path(found.origin or "").absolute() in beside:
                raise UserError(f"{file}, line {node.lineno}: imports {name!r}, a file beside it; {STANDS_ALONE}")


def read(reference: str) -> Plugin:
    """The plugin of a reference. Raises UserError when there is no such file or module.

    Executes nothing of it; the packages that a module is in are imported, to find it.
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
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # its package is not there, or is no package
        found = None
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{module}: its package {module.rpartition('.')[0]} cannot be imported: {reason}") from error
    if found is None or not (found.origin or "").endswith(".py"):
        raise UserError(f"no module {module!r} is installed; for a file write path/{module}.py:Name")
    return Path(str(found.origin))


def of(made: Any) -> Plugin:
    """The plugin of a class or function of this process, from the file or the notebook cell that defined it.

    Of a cell only what it needs is taken: itself, and the imports and definitions of that cell that it uses. Raises
    UserError when it cannot be found, or uses names that its cell does not define.
    """
    name = made.__qualname__
    if not name.isidentifier():
        raise UserError(
            f"{name} should be defined at the top level of a file or a cell, not inside a function or class"
        )
    module = sys.modules.get(made.__module__)
    file = getattr(module, "__file__", None)
    if made.__module__ != "__main__" and file is not None:
        return read(f"{made.__module__ if '.' in made.__module__ else file}:{name}")
    cell = _cell(made)
    if not cell:
        raise UserError(f"the source of {name} cannot be found: write it into a file, and give 'my_file.py:{name}'")
    return Plugin(f"{NOTEBOOK}:{name}", stand_alone(cell, name))


def _cell(made: Any) -> str:
    """The text that defined a class or function of a cell; empty where it cannot be found."""
    functions = [inspect.unwrap(each) for each in ([made, *vars(made).values()] if isinstance(made, type) else [made])]
    for code in (each.__code__ for each in functions if isinstance(each, FunctionType)):
        if code.co_qualname.partition(".")[0] == made.__name__:  # not a function that was made elsewhere
            return "".join(linecache.getlines(code.co_filename))
    # What no file changes under has no time: the cells, in the order in which they were run.
    cells = ["".join(entry[2]) for entry in linecache.cache.values() if len(entry) > 1 and entry[1] is None]
    own = re.compile(rf"^class {made.__name__}\b", re.MULTILINE)
    return next((cell for cell in reversed(cells) if own.search(cell)), "")


def stand_alone(cell: str, name: str) -> str:
    """The lines of a cell that a definition in it needs; the others are blank, so that each keeps its number.

    It needs what defines the names that it uses, and what changes those: `net.size = 3`, `sizes.append(3)`.
    Raises UserError when that is more than the cell defines.
    """
    statements = [(node, *_names(node)) for node in ast.parse(cell).body]
    defined = {each: node for node, defines, _ in statements for each in defines}
    imports = [node for node, _, _ in statements if isinstance(node, ast.Import | ast.ImportFrom)]
    always = [node for node in imports if getattr(node, "module", None) == "__future__" or node.names[0].name == "*"]
    theirs = {each for each, node in defined.items() if node in imports}  # bakeoff.run(...) changes nothing of ours
    kept: set[ast.stmt] = set(always)
    wanted, missing = [name], set()
    while wanted:
        each = wanted.pop()
        if each not in defined and each not in vars(builtins) and not (each.startswith("__") and each.endswith("__")):
            missing.add(each)
        for node, defines, uses in statements:
            if each in defines | (_changes(node) - theirs) and node not in kept:
                kept.add(node)
                wanted += uses
    if missing and not any(node.names[0].name == "*" for node in always):
        raise UserError(
            f"{name} uses {', '.join(sorted(missing))}, which its cell does not define: put the imports, what it uses "
            "and the class into one cell"
        )
    lines = {number for node in kept for number in range(_first_line(node), (node.end_lineno or 0) + 1)}
    numbered = enumerate(cell.split("\n"), 1)
    return "\n".join(line if number in lines else "" for number, line in numbered).rstrip() + "\n"


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])


def _changes(node: ast.stmt) -> set[str]:
    """The names of which a simple statement sets an attribute or an element, or calls one."""
    places: list[ast.AST] = []
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete):
        places = [each for each in ast.walk(node) if isinstance(getattr(each, "ctx", None), ast.Store | ast.Del)]
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
    """What a statement at the top of a module defines there, and what it uses of there, in all of its functions."""
    top = symtable.symtable(ast.unparse(node), "cell", "exec")
    defines = {each.get_name() for each in top.get_symbols() if each.is_assigned() or each.is_imported()}
    uses = {each.get_name() for each in top.get_symbols() if each.is_referenced()}
    tables = top.get_children()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        uses |= {each.get_name() for each in table.get_symbols() if each.is_global() and each.is_referenced()}
    return defines, uses
