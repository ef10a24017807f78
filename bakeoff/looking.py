"""Texts before anything is trained, from Python: `bakeoff.data`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.base import console

if TYPE_CHECKING:
    import pandas as pd

    from data.base.reading import Reading
    from data.inspecting.findings import Inspection


@dataclass(frozen=True, repr=False)
class Look:
    """What was understood of texts, and what was found in them. It prints as `bakeoff data` does."""

    inspection: "Inspection"

    def __repr__(self) -> str:
        from search.base import inspected

        return "\n".join(inspected.lines(self.inspection))

    @property
    def findings(self) -> "pd.DataFrame":
        """A row each, the worst first: kind, severity, what, how many texts or classes, what to do, an example."""
        import pandas as pd

        from data.inspecting.findings import Finding

        columns = [field.name for field in dataclasses.fields(Finding) if field.name != "quoted"]
        return pd.DataFrame([dataclasses.asdict(each) for each in self.inspection.findings], columns=columns)

    @property
    def classes(self) -> "pd.DataFrame":
        """A row a class: its name, and how many texts it has in each split and in all."""
        import pandas as pd

        return pd.DataFrame([{"name": each.name, **each.splits, "all": each.total} for each in self.inspection.classes])


@console.quiet()
def data(texts: str | Path, *, progress: bool = True, **overrides: Any) -> Look:
    """What is understood of texts before anything is trained on them: format, classes, lengths, and what to mend.

    texts: a file, the name of a corpus, or a spec. overrides: keys of the spec, as of `run`.

    Raises UserError when they cannot be read.

    >>> bakeoff.data("rotten-tomatoes", progress=False).findings["severity"].tolist()
    ['minor']
    """
    from search.spec import read as specs
    from search.spec.asked import spec_for

    return Look(specs.inspect(spec_for(str(texts), keys=overrides), progress=progress))


def reading_of(file: Path, columns: dict[str, str | None], overrides: list[str] | None = None) -> "Reading":
    """How a file is read whose columns, by name or number, may be given, with overrides as of a spec."""
    from search.spec.asked import spec_for

    keys = {key: int(name) if name.isdecimal() else name for key, name in columns.items() if name is not None}
    return spec_for(f"csv:{file}", overrides or (), keys=keys, files=False).reading
