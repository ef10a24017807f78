"""The tasks by name. To add one, write its file and enter it here."""

from search.train.tasks.base import Targets, Task
from search.train.tasks.classification import Classification
from search.train.tasks.text_to_image import TextToImage

__all__ = ["TASKS", "Targets", "Task"]

TASKS: dict[str, Task] = {task.name: task for task in (Classification(), TextToImage())}
