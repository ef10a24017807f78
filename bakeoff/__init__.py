"""Find out which architecture is best for a text-classification task, from Python.

>>> import bakeoff
>>> search = bakeoff.run("smoke", architectures=["gru", "mlp"], baselines=["tfidf"], epochs=1, progress=False)
>>> search.outcome
'complete'
>>> sorted(search.leaderboard()["architecture"].unique())
['gru', 'mlp', 'tfidf', 'tfidf_whole']

Heavy imports are deferred until first use: `import bakeoff` takes a tenth of a second and has no side effects.
"""

from importlib.util import find_spec
from pathlib import Path


def _require_own_packages() -> None:
    """Raise ImportError when a file of the user shadows one of our packages."""
    for name in ("data", "models", "search", "analysis"):
        spec, expected = find_spec(name), Path(__file__).resolve().parents[1] / name
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or origin.parent != expected:
            where = origin or f"no file, though {expected} was expected"
            raise ImportError(
                f"bakeoff needs its own package {name!r}, but Python finds {where} first: rename that, or start Python "
                "in another folder (the command `bakeoff` works in any folder)"
            )


_require_own_packages()

from bakeoff.api import Search, open, run  # noqa: E402  (the check above explains why this import may fail)
from bakeoff.looking import data  # noqa: E402
from data.base.errors import UserError  # noqa: E402

__all__ = ["Search", "UserError", "data", "open", "run"]
