"""The settings that workers need from a spec."""

from pathlib import Path

from search.spec.spec import Spec
from search.train import checkpoints
from search.train.running import Setting


def make_setting(spec: Spec, folder: Path) -> Setting:
    """The settings that the trainable needs from a spec."""
    return Setting(
        length=spec.length,
        metric=spec.metric,
        curve_interval=spec.curve_interval,
        embeddings=spec.embeddings,
        threads=max(1, int(spec.resources.cpu)),
        gpu=spec.resources.gpu > 0,
        precision=spec.precision,
        checkpoints=checkpoints.root(folder),
        architectures=spec.code.architectures,
        metrics=spec.code.metrics,
        class_weights=spec.class_weights,
        costs=tuple(spec.measured),
        words={name: words for name in spec.studied if (words := spec.words_of(name)) < spec.most_words},
    )
