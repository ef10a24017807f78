"""The spec of a search: one YAML file, validated and turned into typed objects before anything is started.

Every mistake is one line that names the rule, the value and the nearest valid choice.
"""

import re
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from data.base import folding
from data.base.errors import UserError, choose, did_you_mean
from data.base.reading import Reading
from data.encoded import ALL_WORDS
from models import (
    ARCHITECTURES,
    BASELINES,
    CLASSIFICATION,
    OURS,
    WHOLE,
    baseline,
    is_baseline,
    reads_embeddings,
    words_named,
)
from models.parts.hyperparameters import OrNone
from search.base import record
from search.spec.code import Code
from search.spec.goals import GoalKeys
from search.spec.inherited import Inherited, enqueued
from search.spec.packing import Packing, size_of
from search.spec.reading import ReadingKeys
from search.spec.space import Choice, Space, Values, complete, parse
from search.spec.weights import Weights
from search.train.config import HIDDEN_SIZE, TRAIN_SHARE, TRAINING, TrainingConfig, defaults, domains
from search.train.length import Length
from search.train.metrics import measures

NUM_INHERITED = 2  # configurations of earlier searches that an architecture tries first, at most

KEEPS = ("all", "best", "top:3")


#: The object stores that checkpoints may be kept in: Amazon's and what speaks like it, Google's, Azure's.
STORES = ("s3", "gs", "abfs")


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_seconds(value: object) -> object:
    """'90s', '20m', '1.5h' or a number of seconds -> seconds; anything else is left for the type check."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", str(value))
    return float(match[1]) * _UNITS.get(match[2], 1) if match else value


#: Those of every search of classifiers.
USUAL_BASELINES = ("majority", "tfidf", "nbsvm")
USUAL_WITH_ENCODER = (*USUAL_BASELINES, "embedding")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Resources(Strict):
    """What one trial is given."""

    cpu: Annotated[float, Field(ge=0.01, description="cores; a trial uses as many threads as whole cores")] = 1
    gpu: Annotated[float, Field(ge=0, description="cards; 0.25 shares a card between four trials")] = 0


class NodeType(Strict):
    """Equal machines of a cluster, for the prediction of what a search costs."""

    cpu: float = Field(ge=0)
    gpu: float = Field(0, ge=0)
    count: int = Field(1, ge=1)
    price: float = Field(0, ge=0, description="of one of them, an hour, in any money")


if TYPE_CHECKING:

    class _Keys(GoalKeys, ReadingKeys): ...

else:  # `from` is a word of Python's own, which no class can declare
    _FROM = (
        list[str],
        Field(
            [],
            description="earlier searches by id, name or folder, of any texts: their best configurations are tried "
            "first, and the sampler learns from the others; what they spent counts as budget",
        ),
    )
    _Keys = create_model("_Keys", __base__=(GoalKeys, ReadingKeys), **{"from": _FROM})


class Spec(_Keys):
    """Everything that defines a search. Two runs of one spec propose the same first trials."""

    name: str = Field("search", description="the MLflow experiment and the first part of the search's id")

    corpus: str = Field(
        "imdb", description="imdb, rotten-tomatoes, imdb-full, captions, a file of yours or path/my_data.py:load"
    )
    vectors: str = Field(
        "glove.6B.50d",
        description="glove.6B.50d/100d/200d/300d, file:PATH, or an encoder of yours, path/encoder.py:embed",
    )
    embeddings: Literal["frozen", "finetuned", "learned"] = Field(
        "frozen", description="learned: no vectors, trained from scratch with embedding_size dimensions"
    )
    embedding_size: int = Field(50, ge=1, description="dimensions of learned embeddings")
    max_words: int | dict[str, int] = Field(
        100, description="texts are cut after so many words; or a mapping from architecture to one's own"
    )
    limit: int | None = Field(None, ge=20, description="use only so many texts, the same ones every time")

    split_seed: int = Field(
        0, ge=0, lt=2**31, description="another division into training, validation and test; official splits stay"
    )
    folds: int | None = Field(
        None,
        ge=folding.LEAST,
        le=folding.MOST,
        description="for small files: in the end the best of each architecture and all baselines are trained on so "
        "many divisions of the texts, in which each text is tested once; scores are means over these folds",
    )

    texts: Literal["none", "page", "all"] = Field(
        "page",
        description="where texts of the corpus may appear: page: on report pages and terminals, and kept in "
        "the search's folder; all: in MLflow, too; none: only in what analysis commands show when they are asked",
    )

    code: Code = Field(Code(), description="filled in: the sources of what is not ours", repr=False)
    architectures: list[str] = Field(
        ["rnn", "gru", "mlp", "attention", "cnn"],
        min_length=1,
        description="names of ours, or yours: path/my_net.py:Name or package.module:Name",
    )
    baselines: list[str] = Field(
        None,
        validate_default=True,
        description="what the architectures have to beat, each with a small grid of its own: majority, tfidf, nbsvm; "
        "embedding, which is logistic regression on what an encoder makes of whole texts (see vectors); or none; "
        "without it the first three where texts are classified, and the last where there is an encoder; those that "
        "depend on words once more on every number of words that an architecture reads (nbsvm_200) and on whole texts "
        "(nbsvm_whole)",
    )
    space: dict[str, Any] = Field(
        {},
        description="hyperparameter -> list (a choice), mapping low/high/step/log (a range), scalar (fixed), "
        "or a mapping from architecture to one of these",
    )
    configurations: dict[str, dict[str, dict[str, Any]]] | None = Field(
        None,
        description="instead of a space, for sampler: grid: architecture -> name -> hyperparameters, and train_share "
        "where a trial learns from a share of the training texts; baselines have their grids unless they are named too",
    )
    confirms: str | None = Field(None, description="the id of the search whose best configurations these are")
    looks: int | None = Field(
        None,
        ge=1,
        description="of a confirmation until it is decided: at how many looks at its seeds verdicts are right",
    )
    sizes_of: str | None = Field(None, description="the id of the search whose best models these are, on fewer texts")
    path_of: str | None = Field(None, description="the id of the search whose default these turn into its best")
    match_parameters: int | None = Field(
        None, ge=1, description="hidden_size is solved so that every model has so many trainable parameters, within 2 %"
    )
    epochs: int = Field(6, ge=1, description="how often a trial goes over the training texts")
    reports_per_epoch: int = Field(
        1, ge=1, description="how often a trial is evaluated, and may be pruned, in each epoch; its score is the best"
    )
    patience: int | None = Field(
        None, ge=1, description="reports without a better score after which a trial ends, as complete as any"
    )
    class_weights: Weights = Field(
        "none",
        description="how much a text of each class counts in what is learned: none (all the same), balanced (all "
        "classes together the same) or {class: weight}, 1 for others; the losses that are reported are not weighted",
    )
    batch_size: int = Field(TrainingConfig.batch_size, description="where the space says nothing else")
    max_grad_norm: float | None = Field(
        TrainingConfig.max_grad_norm,
        description="gradients are clipped to this norm if given; where the space says nothing else",
    )
    curve_interval: int = Field(50, ge=1, description="iterations between two points of the training curves")

    trials: int | None = Field(None, ge=1, description="for each architecture; a grid is run to its end unless told")
    seeds: int = Field(1, ge=1, le=1000, description="trials of each point of a grid, equal but for their seeds")
    sampler: Literal["tpe", "random", "grid", "gp", "cmaes", "nsga2"] = Field(
        "tpe", description="what proposes configurations"
    )
    pruner: Literal["asha", "hyperband", "median", "front", "none"] = Field(
        "asha", description="what ends trials early; of several objectives front (the default then) or none"
    )
    inherited: list[Inherited] = Field([], description="filled in: what `from` found", repr=False)
    duplicate_trials: Literal["repeat", "redraw", "allow"] = Field(
        "repeat",
        description="what becomes of a configuration that the sampler proposes again; repeat: it is trained on another "
        "seed, to its end, and ranked by the mean of all its trials; redraw: another one is drawn, and a space of few "
        "points ends when each was tried; allow: each trial is ranked alone",
    )
    stop: Literal["none", "decided"] = Field(
        "none",
        description="decided: an architecture whose chance to overtake the best one with the trials that it has left "
        "is under 5 % gets no more, and the search ends when its best score is expected to gain less than min_gain",
    )
    min_gain: float = Field(0.002, ge=0, description="with stop: decided, in the metric's unit; 0.002 is 0.2 points")
    metrics: list[str] = Field(
        [], description="yours, measured besides: path/my_metrics.py:name or package.module:name"
    )
    metric: str = Field("val_accuracy", description="what trials are ranked by, on validation")
    seed: int = Field(0, ge=0, lt=2**31, description="of all that is random in a search")
    time_budget: Annotated[float, BeforeValidator(parse_seconds)] | None = Field(
        None, gt=0, description="seconds, or a number with s, m, h or d; then the search stops and can be resumed"
    )
    resources: Resources = Field(
        Resources(), description="what a trial, or a pack, is given: {cpu: 1}, {cpu: 2, gpu: 0.25}"
    )
    precision: Literal["float32", "tf32", "bf16"] = Field(
        "float32", description="of products on a GPU, which tf32 and bf16 round for speed"
    )
    packing: Packing = Field(
        "auto",
        description="how many trials of one architecture a worker trains together, each with the numbers that it has "
        "alone; auto: 32 on a GPU, else 1; baselines are never packed",
    )
    concurrency: int | None = Field(
        None,
        ge=1,
        description="trials, or packs of trials, at once; without it as many as fit the nodes that are there or may be "
        "started",
    )
    retries: int = Field(
        2, ge=0, description="how often a trial goes on after its worker died; the loss of its node does not count"
    )
    keep_checkpoints: str = Field(
        "all",
        description="of finished trials: all, or the best or the top:K of each architecture (of each configuration)",
    )
    storage: str | None = Field(
        None, min_length=1, description="an Optuna storage URL; without one a journal in the search's folder"
    )
    storage_path: str | None = Field(
        None,
        min_length=1,
        description="where trials keep checkpoints: a folder that all nodes share, s3://bucket/folder, gs://... or "
        "abfs://...; without it the search's folder",
    )
    nodes: list[NodeType] = Field([], description="the cluster that `plan` reckons with, its head included")

    @field_validator("from", mode="before", check_fields=False)
    @classmethod
    def _from_may_be_one(cls, written: Any) -> Any:
        return [written] if isinstance(written, str) else written

    @field_validator("name")
    @classmethod
    def _name_is_a_file_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            raise UserError(
                "must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit; "
                f"got {name!r}; nearest: {re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-._')[:64] or 'search'!r}"
            )
        if name == "latest":
            raise UserError("latest means the newest search; nearest: 'latest-1'")
        return name

    @field_validator("max_words", mode="before")
    @classmethod
    def _words_are_whole_numbers(cls, written: Any) -> Any:
        own = written if isinstance(written, dict) else {}
        for name in own:
            if name not in ARCHITECTURES:
                raise UserError(f"unknown architecture {name!r}{did_you_mean(name, ARCHITECTURES)}")
        for value in own.values() or (written,):
            if not isinstance(value, int | float) or isinstance(value, bool) or value < 1 or value % 1:
                raise UserError(f"should be a whole number from 1, or one for each architecture; got {value!r}")
        return written

    @field_validator("metrics")
    @classmethod
    def _metrics_are_given(cls, names: list[str], info: ValidationInfo) -> list[str]:
        for name in names:
            if name not in info.data.get("code", Code()).metrics:
                raise UserError(
                    f"should have the form path/my_metrics.py:name (built-in ones are always measured); got {name!r}"
                )
        if len(set(names)) < len(names):
            raise UserError(f"should name each metric once; got {names}")
        return names

    @field_validator("metric")
    @classmethod
    def _metric_is_on_validation(cls, metric: str) -> str:
        return choose("metric", metric, measures("val"))  # whether it is one to rank by, its task decides

    @field_validator("keep_checkpoints")
    @classmethod
    def _keeps_are_known(cls, keep: str) -> str:
        if not re.fullmatch(r"all|best|top:[1-9]\d*", keep):
            raise UserError(f"should be all, best or top:K with K from 1; got {keep!r}{did_you_mean(keep, KEEPS)}")
        return keep

    @field_validator("precision")
    @classmethod
    def _rounding_is_for_gpus(cls, precision: str, info: ValidationInfo) -> str:
        if precision != "float32" and not info.data.get("resources", Resources()).gpu:
            raise UserError(
                f"is for GPUs, and trials have none (resources: {{gpu: 0.25}}); got {precision}; nearest: float32"
            )
        return precision

    @field_validator("storage_path")
    @classmethod
    def _storage_path_is_known_and_holds_no_key(cls, path: str | None) -> str | None:
        scheme, mark, rest = (path or "").partition("://")
        if mark:
            choose("storage_path", scheme, STORES)
            if "@" in rest.partition("/")[0]:
                raise UserError("should hold no access keys; give them in the environment, or give the machine a role")
        return path

    @field_validator("architectures")
    @classmethod
    def _architectures_exist(cls, names: list[str], info: ValidationInfo) -> list[str]:
        known = [*OURS, *info.data.get("code", Code()).architectures]
        for name in names:
            if is_baseline(name):
                raise UserError(f"{name} is a baseline, which is not searched; write baselines: [{name}]")
            choose("architecture", name, known)
        if len(set(names)) < len(names):
            raise UserError(f"should name each architecture once; got {names}")
        return names

    @field_validator("baselines", mode="before")
    @classmethod
    def _baselines_are_of_classifiers(cls, written: Any, info: ValidationInfo) -> Any:
        if written is None:
            tasks = {ARCHITECTURES[name].task for name in info.data.get("architectures", [])}
            usual = USUAL_WITH_ENCODER if info.data.get("code", Code()).vectors else USUAL_BASELINES
            return list(usual) if tasks == {CLASSIFICATION} else []
        if written in ("none", ["none"], ("none",)):
            return []
        if not isinstance(written, list | tuple):
            raise UserError(f"should be none or a list, such as [{', '.join(USUAL_BASELINES)}]; got {written!r}")
        return written

    @field_validator("baselines")
    @classmethod
    def _baselines_exist(cls, names: list[str]) -> list[str]:
        for name in names:
            if name == "none":
                raise UserError(f"none cannot stand beside others; got [{', '.join(names)}]")
            if baseline(name) is None:
                choose("baseline", name, BASELINES)
            if not is_baseline(name):
                raise UserError(
                    f"{name} is the name of an architecture of yours here; rename that, or leave the baseline out"
                )
        if len(set(names)) < len(names):
            raise UserError(f"should name each baseline once; got {names}")
        return names

    @field_validator("batch_size", "max_grad_norm")
    @classmethod
    def _hyperparameter_is_in_its_domain(cls, value: Any, info: ValidationInfo) -> Any:
        TRAINING[str(info.field_name)].check("it", value)
        return value

    @model_validator(mode="after")
    def _words_are_of_every_architecture(self) -> Self:
        # What is for others than those searched may stay, and counts: a confirmation of a few reads the same corpus.
        if isinstance(self.max_words, dict):
            for name in self.architectures:
                if name not in self.max_words:
                    raise UserError(
                        f"max_words: has no number for {name}, which is searched; add {name}: {self.most_words}"
                    )
        for name in self.baselines:
            if self.most_words < self.words_of(name) < ALL_WORDS:
                plain = name.rpartition("_")[0]
                raise UserError(f"baselines: {name} reads more than max_words {self.most_words}; nearest: {plain}")
        for name in self.studied:
            if reads_embeddings(name) and not self.code.vectors:
                raise UserError(
                    f"{name} learns from the output of a text encoder; write vectors: path/encoder.py:embed"
                )
        return self

    @model_validator(mode="after")
    def _space_is_known_and_belongs_to_the_sampler(self) -> Self:
        repeats = self.seeds > 1
        if repeats and self.sampler != "grid":
            raise UserError(
                f"seeds: repeats the points of a grid, with sampler: grid; got seeds {self.seeds}, {self.sampler}; to "
                "repeat the best: confirm"
            )
        if self.stop != "none" and (repeats or self.repeats):
            raise UserError(f"stop: repetitions of configurations run to their end; leave it out; got {self.stop}")
        if self.trials is not None and (repeats or self.configurations is not None):
            raise UserError(
                f"trials: a grid with seeds or configurations runs to its end; leave it out; got {self.trials}"
            )
        if self.match_parameters is not None and HIDDEN_SIZE in self.space:
            raise UserError("match_parameters solves hidden_size: leave it out of the space")
        for architecture, space in self.spaces.items():
            if self.match_parameters is not None and HIDDEN_SIZE not in domains(architecture):
                raise UserError(f"match_parameters: {architecture} has no hidden_size to solve")
            for name in space if self.sampler == "grid" else ():
                try:
                    space[name].grid()
                except UserError as error:
                    raise UserError(f"space.{name}: {error}") from None
        return self

    @cached_property
    def given(self) -> dict[str, Values | dict[str, Values]]:
        """What `space` says: the values of a hyperparameter, for all architectures or by architecture."""
        known = {name for architecture in self.architectures for name in domains(architecture)}
        given = {name: parse(f"space.{name}", written) for name, written in self.space.items()}
        for name, values in given.items():
            # What is for other architectures than those searched may stay: so `architectures` alone picks a few.
            for architecture in values if isinstance(values, dict) else ():
                if name not in (own := domains(architecture)):
                    raise UserError(f"space.{name}: {architecture} has no {name!r}{did_you_mean(name, sorted(own))}")
            if name not in known and not isinstance(values, dict):
                if having := [each for each in ARCHITECTURES if not is_baseline(each) and name in domains(each)]:
                    raise UserError(
                        f"space: {name!r} belongs to {', '.join(having)}, which this spec does not search; leave it "
                        "out, or write "
                        f"{name}: {{{having[0]}: ...}}"
                    )
                raise UserError(f"space: unknown hyperparameter {name!r}{did_you_mean(name, sorted(known))}")
        return given

    @cached_property
    def points(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Architecture -> name -> every hyperparameter, of a spec that gives configurations; else nothing."""
        if self.configurations is None:
            return {}
        if self.sampler != "grid" or self.space or self.match_parameters:
            raise UserError("configurations: write sampler: grid beside them, and leave out space and match_parameters")
        if {*self.configurations} - {*self.baselines} != {*self.architectures}:
            raise UserError(
                f"configurations: should be of the architectures, {self.architectures}; got {list(self.configurations)}"
            )
        return {architecture: self._points_of(architecture) for architecture in self.configurations}

    def _points_of(self, architecture: str) -> dict[str, dict[str, Any]]:
        where, points = f"configurations.{architecture}", {}
        known = domains(architecture) | {record.TRAIN_SHARE: TRAIN_SHARE}
        for name, written in (self.configurations or {})[architecture].items():
            if not name:
                raise UserError(f"{where}: every configuration needs a name; got ''")
            for key, value in written.items():
                if key not in known:
                    raise UserError(f"{where}.{name}: unknown hyperparameter {key!r}{did_you_mean(key, sorted(known))}")
                if isinstance(value, list | dict) or (value is None and not isinstance(known[key], OrNone)):
                    raise UserError(f"{where}.{name}.{key}: one value; got {value}")
            fixed = {key: Choice((value,)) for key, value in written.items()}
            space = complete(f"{where}.{name}", architecture, fixed, self._otherwise(architecture))
            points[name] = {key: values.ends()[0] for key, values in space.items()}
            if (share := written.get(record.TRAIN_SHARE)) is not None:
                TRAIN_SHARE.check(f"{where}.{name}.{record.TRAIN_SHARE}", share)
                points[name][record.TRAIN_SHARE] = share
        if not points:
            raise UserError(f"{where}: should have at least one configuration; got none")
        return points

    @cached_property
    def spaces(self) -> dict[str, Space]:
        """The space of each architecture, every hyperparameter in it: those that the spec does not name are fixed.

        With match_parameters the hidden size is solved and not in it. Of configurations it holds only the names.
        """
        repeated: dict[str, Values] = {}
        if self.cross_validated:
            repeated[record.FOLD] = Choice(tuple(map(str, self.cross_validated)))
        if self.seeds > 1:
            repeated[record.REPETITION] = Choice(tuple(range(self.seeds)))
        if self.configurations is not None:
            return {
                name: {record.CONFIGURATION: Choice(tuple(self.points[name]))} | repeated for name in self.architectures
            }
        spaces: dict[str, Space] = {}
        for architecture in self.architectures:
            own = {
                name: values.get(architecture) if isinstance(values, dict) else values
                for name, values in self.given.items()
            }
            given = {name: values for name, values in own.items() if values is not None}
            space = complete("space", architecture, given, self._otherwise(architecture))
            solved = [HIDDEN_SIZE] if self.match_parameters is not None else []
            spaces[architecture] = {name: each for name, each in space.items() if name not in solved} | repeated
        return spaces

    @property
    def studied(self) -> list[str]:
        """What has a study of its own: the baselines, and what is compared with them."""
        return [*self.baselines, *self.architectures]

    def of(self, name: str) -> "Spec":
        """The spec of one study: of an architecture this one; a baseline is tried at each point of its grid, or in its
        configurations, once."""
        if name not in self.baselines or not (found := baseline(name)):
            return self
        given = (self.configurations or {}).get(name)
        own = {
            "architectures": [name],
            "baselines": [],
            "space": {} if given else {key: list(values) for key, values in found.grid.items()},
            "configurations": {name: given} if given else None,
            "match_parameters": None,
            "trials": None,
            "seeds": 1,
            "sampler": "grid",
            "pruner": "none",
            "objectives": [],
            "packing": 1,
        }
        return Spec.model_construct(**{key: getattr(self, key) for key in Spec.model_fields} | own)

    @property
    def repeats(self) -> str | None:
        """The id of the search of whose models these are some, trained again."""
        return self.confirms or self.sizes_of or self.path_of

    @property
    def cross_validated(self) -> tuple[folding.Fold, ...]:
        """The divisions of the texts that its trials are of: those of a confirmation over folds, else none."""
        return folding.Fold.all(self.folds) if self.folds and self.confirms else ()

    @property
    def smallest_share(self) -> float:
        """Of the training texts, that any trial learns from."""
        points = (point for named in self.points.values() for point in named.values())
        return min((point.get(record.TRAIN_SHARE, 1.0) for point in points), default=1.0)

    @property
    def earlier(self) -> list[str]:
        """The searches that this one learns from: `from`."""
        return list(getattr(self, "from"))

    def first_points(self, architecture: str) -> list[dict[str, Any]]:
        """What is tried before the sampler is asked: the best of earlier searches, and the default, which is a baseline
        in every search and a fair start."""
        own = [each for each in self.inherited if each.architecture == architecture]
        points = enqueued(own, max(1, min(NUM_INHERITED, self.num_trials // 4)))
        default = self.default_point(architecture)
        return [*points, *[default] * (default not in points)]

    def default_point(self, architecture: str) -> dict[str, Any]:
        """The point of an architecture's space that is nearest to what it takes by default."""
        wanted = self._otherwise(architecture)
        return {name: values.nearest(wanted.get(name)) for name, values in self.spaces[architecture].items()}

    def _otherwise(self, architecture: str) -> dict[str, Any]:
        """What the hyperparameters are by default, those of training that are keys of the spec as it says."""
        return defaults(architecture) | {name: getattr(self, name) for name in TRAINING if name in Spec.model_fields}

    @property
    def reading(self) -> Reading:
        """How its texts are read, with the source of a tokenizer that is not ours."""
        return replace(super().reading, tokenizer=self.code.tokenizer.get(self.tokenizer, self.tokenizer))

    @property
    def most_words(self) -> int:
        """How many words of a text are encoded, and make the vocabulary: as many as any architecture reads."""
        return max(self.max_words.values()) if isinstance(self.max_words, dict) else self.max_words

    def words_of(self, architecture: str) -> int:
        """How many words of a text it reads."""
        if reads_embeddings(architecture):
            return ALL_WORDS
        if named := words_named(architecture):
            return ALL_WORDS if named == WHOLE else int(named)
        return self.max_words.get(architecture, self.most_words) if isinstance(self.max_words, dict) else self.max_words

    def short(self) -> dict[str, Any]:
        """All keys but those that are too long for a table, and `storage`, which may hold a password."""
        return self.model_dump(mode="json", exclude={"space", "configurations", "code", "inherited", "storage"})

    @property
    def length(self) -> Length:
        """Of a trial (see `search.train.config.length_of`)."""
        return Length(self.epochs, self.reports_per_epoch, self.patience)

    @property
    def largest_batch(self) -> int:
        """The most texts that any trial's iteration trains on."""
        sizes = [point.get("batch_size", 1) for named in self.points.values() for point in named.values()]
        spaces = [space["batch_size"] for space in self.spaces.values() if "batch_size" in space]
        return max([*sizes, *(size for values in spaces for size in values.ends())], default=1)

    @property
    def pack_size(self) -> int:
        """The most trials that a worker trains together; of a baseline, see `of`."""
        return size_of(self.packing, self.resources.gpu)

    @property
    def num_kept(self) -> float:
        """How many trials of each architecture keep their checkpoints when they have finished."""
        keep = self.keep_checkpoints
        return float("inf") if keep == "all" else 1 if keep == "best" else int(keep.removeprefix("top:"))

    @property
    def num_trials(self) -> int:
        """Trials for each architecture, where the sampler does not bound them itself."""
        return self.trials or 8
