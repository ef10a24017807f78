"""Inspection of texts before training, from Python: `bakeoff.data`."""

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
    """How texts were read, and the problems found in them. Its repr is the output of the command `bakeoff data`."""

    inspection: "Inspection"

    def __repr__(self) -> str:
        from search.base import inspected

        return "\n".join(inspected.lines(self.inspection))

    @property
    def findings(self) -> "pd.DataFrame":
        """One row per problem, the worst first: kind, severity, description, count, remedy, example."""
        import pandas as pd

        from data.inspecting.findings import Finding

        columns = [field.name for field in dataclasses.fields(Finding) if field.name != "quoted"]
        return pd.DataFrame([dataclasses.asdict(each) for each in self.inspection.findings], columns=columns)

    @property
    def classes(self) -> "pd.DataFrame":
        """One row per class: its name, and its number of texts in each split and in total."""
        import pandas as pd

        return pd.DataFrame([{"name": each.name, **each.splits, "all": each.total} for each in self.inspection.classes])


@console.quiet()
def data(texts: str | Path, *, progress: bool = True, **overrides: Any) -> Look:
    """Inspect texts before training: file format, classes, lengths, and problems with their remedies.

    texts: a file, the name of a corpus, or a spec. overrides: keys of the spec, as in `run`.

    Raises UserError when they cannot be read.

    >>> bakeoff.data("rotten-tomatoes", progress=False).findings["severity"].tolist()
    ['minor']
    """
    from search.spec import read as specs
    from search.spec.asked import spec_for

    return Look(specs.inspect(spec_for(str(texts), keys=overrides), progress=progress))


def reading_of(file: Path, columns: dict[str, str | None], overrides: list[str] | None = None) -> "Reading":
    """How to read a file. columns: names or numbers, None where not given. overrides: as `--set` takes them."""
    from search.spec.asked import spec_for

    keys = {key: int(name) if name.isdecimal() else name for key, name in columns.items() if name is not None}
    return spec_for(f"csv:{file}", overrides or (), keys=keys, files=False).reading
