"""What goes into a composition and what comes out, as plain data that loads without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

PROMPT = "{input}\nAnswer:"
TARGET = " {output}"  # the end-of-sequence token follows it


@dataclass(frozen=True)
class Module:
    """An adapter pinned to a revision, in its role as an ingredient."""

    id: str  # "owner/name"
    revision: str  # 40 hex digits
    path: str  # folder with adapter_config.json and adapter_model.safetensors
    weights_sha256: str = ""
    config_sha256: str = ""
    licence: str | None = None


@dataclass(frozen=True)
class Example:
    """One question and the answer wanted."""

    input: str
    output: str


@dataclass(frozen=True)
class Evaluation:
    """One measurement of one candidate; the list of them is the history and the checkpoint of a composition.

    `weights` has one number per module, in the order of `Spec.modules`, of which a shortlist leaves some. `rows` names the examples that were
    measured (None: all). `detail` is JSON: what the engine needs to go on without measuring again (per-example sums, gradient).
    """

    step: int  # 0, 1, 2, ... without gaps
    phase: str  # "shortlist", "base", "single", "strength", "uniform", "search", "fold", "tune", "without", "cut"
    weights: tuple[float, ...]  # none for a shortlist
    loss: float
    rows: tuple[int, ...] | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """Everything a composition depends on: the same spec gives the same weights and the same file."""

    base_model: str  # the id written into the result, such as "HuggingFaceTB/SmolLM2-135M-Instruct"
    base_path: str  # folder with config.json, tokenizer and safetensors; not read where there are no examples
    modules: tuple[Module, ...]
    examples: tuple[Example, ...]
    method: str
    settings: Mapping[str, Any]  # as `catalogue.check` returns them: every setting present and in range
    seed: int
    name: str  # "owner/name" of the result
    out_dir: str  # an empty folder for the result's files
    description: str = ""
    base_revision: str = ""  # which version of the base model this is, for the recipe: a revision, or the fingerprint of a folder
    history: tuple[Evaluation, ...] = ()
    prompt: str = PROMPT
    target: str = TARGET
    shortlist: int | None = None  # leave out bad modules and keep only this many, the best alone on the examples (None: keep all, or fail)
    samples: int = 0  # examples that the base model, the best single module and the result answer in words, for the report
    explain: bool = True  # measure what each module does for a mix (and drop those without effect), and what the result does to other text
    device: str = "auto"  # "auto", "cpu", "cuda", "cuda:1"
    dtype: str = "auto"  # "auto", "bfloat16", "float32"
    forward_tokens: int = 0  # padded tokens in one forward, of all candidates together; bounds the memory (0: as many as suit the device)
    keep_bases: int = 8_192_000_000  # bytes of base models that stay in memory for the next job
    keep_modules: int = 512_000_000  # bytes of modules that do


@dataclass(frozen=True)
class Score:
    """How one candidate does on examples it did not learn from."""

    loss: float  # token-weighted cross-entropy in nats
    accuracy: float  # share of examples whose whole answer is the greedy one
    low: float  # 95 % Wilson interval of the accuracy
    high: float
    n: int  # number of examples
    module: str | None = None  # the module's id where the candidate is a single one


@dataclass(frozen=True)
class Result:
    """What a composition found. `files` are names inside `Spec.out_dir`; empty when nothing helped."""

    weights: dict[str, float]  # by module id
    scores: dict[str, Score]  # "base", "best_single", "uniform", "composed"; empty without examples
    verdict: str  # "mix", "single", "tuned" or "nothing"
    summary: str  # the finding in one or two plain sentences
    files: tuple[str, ...]
    report: dict[str, Any]  # JSON: folds, settings, export error, device, seconds by stage


class Observer(Protocol):
    """Who watches a composition. A method may raise to stop it: the exception passes through `compose` untouched, unless it says that memory ran out."""

    def planned(self, total: int) -> None:
        """Say how many evaluations the whole composition takes at most, replayed ones included."""

    def stage(self, name: str, sentence: str) -> None:
        """Say what begins now: `name` is one of loading, modules, search, check, export."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """Take a new evaluation; replayed ones are not announced again."""

    def improved(self, weights: Mapping[str, float], loss: float) -> None:
        """Take the best weights so far, by module id."""

    def enough(self) -> bool:
        """Return whether the search should end now with the best it has; asked before each measurement of a search."""
