"""The searcher that Ray Tune sees: it asks the studies for trials."""

from typing import Any

from ray.tune.search import Searcher

from search.study.studies import Studies


class _Face:
    """Tune pickles its searcher and scheduler to restore them; these hold no state that a restore could need."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


class StudySearcher(_Face, Searcher):
    """Lets Tune ask the studies for trials."""

    def __init__(self, studies: Studies) -> None:
        super().__init__()
        self._studies = studies

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        return True  # the spec is the only source of what is searched and by which metric

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        trial = self._studies.ask()
        return trial.config if trial else Searcher.FINISHED  # type: ignore[return-value]  # a str, says Ray's own

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        pass  # the scheduler face has told the study already
