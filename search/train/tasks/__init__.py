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
    """What an architecture of this kind learns (`Architecture.task`) from a corpus that has these arrays: of its tasks
    that which asks for most of what there is. If the corpus has too little for any, the first."""
    tasks = [task for task in TASKS.values() if task.kind == kind]
    return max(tasks, key=lambda task: len(task.arrays) if {*task.arrays} <= {*arrays} else -1)


def task_of(kind: str, corpus: EncodedCorpus) -> Task:
    """The same of an encoded corpus."""
    return task_with(kind, corpus.train.arrays).joined_by(corpus.label_separator)
