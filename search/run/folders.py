"""The folders of searches: create, find by id or name, and discard."""

import shutil
import time
from pathlib import Path

from data.base.errors import UserError, did_you_mean
from data.base.files import write_whole
from search.base import names, origin
from search.spec import read as specs
from search.spec.read import SPEC_FILE
from search.spec.spec import Spec
from search.train import checkpoints

TUNE = "tune"  # the folder that Tune writes to; nothing reads it


def new_search(spec: Spec, root: Path) -> Path:
    """Create the folder of a new search, named after the search's id and holding its frozen spec."""
    try:
        root.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UserError(f"searches are kept in a folder; {root} is a file") from None
    while True:
        folder = root / names.search_id(spec.name)
        try:
            folder.mkdir()
            break
        except FileExistsError:  # another search was started in the same second
            time.sleep(1)
    origin.start(folder)
    write_spec(specs.freeze(spec), folder)
    return folder


def write_spec(spec: Spec, folder: Path) -> None:
    # The URL of a storage may hold a password.
    with write_whole(folder / SPEC_FILE, private=spec.storage is not None) as file:
        file.write(specs.dump(spec).encode())


def discard(folder: Path) -> None:
    """Remove the folder of a search that was refused before its first trial."""
    if not (folder / TUNE).exists():
        checkpoints.remove(checkpoints.root(folder))
        shutil.rmtree(folder)


def find_searches(search: str, root: Path) -> list[Path]:
    """See `origin.folders`."""
    return origin.folders(search, root)


def find_search(search: str, root: Path) -> Path:
    """The folder of a search by its id, its name (the newest of that name) or `latest`. Raises UserError."""
    if found := find_searches(search, root):
        origin.say_which(search, found[-1].name)
        return found[-1]
    ids = [folder.name for folder in find_searches("", root)[-5:]]
    raise UserError(f"no search {search!r} in {root}{did_you_mean(search, ids) if ids else ' (there are none yet)'}")
