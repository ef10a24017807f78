"""The tasks by name. To add one, write its file and enter it here."""

from collections.abc import Collection

from data.encoded import EncodedCorpus
from search.train.tasks.base import Targets, Task
from search.train.tasks.classification import Classification
from search.train.tasks.multi_label import MultiLabel
from search.train.tasks.text_to_image import TextToImage

__all__ = ["TASKS", "Targets", "Task", "task_of", "task_with"]

TASKS: dict[str, Task] = {task.name: task for task in (Classification(), MultiLabel(), TextToImage())}


def task_with(kind: str, arrays: Collection[str]) -> Task:
    """The task of an architecture of this kind (`Architecture.task`) on a corpus with these arrays: among the possible
    tasks, the one that uses most arrays. The first if the corpus lacks arrays for all."""
    tasks = [task for task in TASKS.values() if task.kind == kind]
    return max(tasks, key=lambda task: len(task.arrays) if {*task.arrays} <= {*arrays} else -1)


def task_of(kind: str, corpus: EncodedCorpus) -> Task:
    """Like `task_with`, for an encoded corpus."""
    return task_with(kind, corpus.train.arrays).joined_by(corpus.label_separator)
