"""Measures candidate mixes on the examples and is the checkpoint: what the history holds is replayed, never measured again."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from compose_worker.engine import examples
from compose_worker.engine.bank import Bank
from compose_worker.engine.examples import Batch, Encoded
from compose_worker.engine.limit import Limit
from compose_worker.engine.spec import Evaluation, Observer, Spec

GRADIENT_COST = 2.0  # a backward through frozen weights costs about as much as the forward


@dataclass(frozen=True)
class Measured:
    """One candidate on some rows; `sums` and `exact` are in the order of `rows`."""

    weights: tuple[float, ...]
    rows: tuple[int, ...]
    loss: float  # nats per answer token
    sums: tuple[float, ...]
    exact: tuple[bool, ...]
    gradient: tuple[float, ...] | None = None  # of `loss`, in the order of the weights that were asked for; zero for modules that are out


class Evaluator:
    """The only way a method learns how good a candidate is."""

    def __init__(self, spec: Spec, bank: Bank, encoded: Sequence[Encoded], observer: Observer, space: str = "exact") -> None:
        self.bank = bank
        self.encoded = tuple(encoded)
        self.tokens = tuple(len(e.answer) for e in encoded)
        self.active: tuple[int, ...] = tuple(range(len(spec.modules)))  # modules that a gradient is wanted for
        self.spent = 0.0  # forwards over all examples
        self.limit = Limit(observer, float(spec.settings.get("seconds", 0)), spec.history)
        self.found: Measured | None = None  # the best that a search measured on all examples
        self._ids = tuple(module.id for module in spec.modules)
        self._observer = observer
        self._space = space
        self._history = tuple(spec.history)
        self._cursor = 0
        self._next_step = max((e.step for e in spec.history), default=-1) + 1
        self._best = float("inf")
        self._batches: dict[tuple[tuple[int, ...], int], list[Batch]] = {}

    def measure(self, phase: str, weights: "Sequence[float] | np.ndarray", rows: Sequence[int] | None = None, gradient: bool = False) -> Measured:
        """Return the loss of the mix on `rows` (default: all), and its gradient if wanted, from the history where that has it.

        `weights` has a number for each module, or a row of them for each layer of the bank; of those the history keeps the mean.
        """
        wanted = np.asarray(weights, dtype=np.float64)
        cost = GRADIENT_COST if gradient else 1.0
        return self.take(phase, self.bank.mean(wanted), rows, lambda subset: self._run(phase, wanted, subset, gradient), cost, gradient)

    def take(
        self,
        phase: str,
        weights: tuple[float, ...],
        rows: Sequence[int] | None,
        run: "Callable[[tuple[int, ...]], Measured]",
        cost: float = 1.0,  # forwards for each of the rows
        gradient: bool = False,
    ) -> Measured:
        """Return what the history has for this candidate, or else what `run` measures on the rows."""
        subset = None if rows is None else tuple(rows)
        measured = self._replayed(phase, weights, subset, gradient)
        if measured is None:
            self.limit.check()
            measured = replace(run(self._all if subset is None else subset), weights=weights)
            evaluation = Evaluation(self._next_step, phase, weights, measured.loss, subset, {**_detail(measured), **self.limit.stamp()})
            self._next_step += 1
            self._observer.evaluated(evaluation)
        self.spent += len(measured.rows) / len(self.encoded) * cost
        if subset is None:
            self._improve(measured)
            if phase == "search" and (self.found is None or measured.loss < self.found.loss):
                self.found = measured
        return measured

    def loss(self, measured: Measured, rows: Sequence[int]) -> float:
        """The loss of a measured candidate on some of its rows."""
        place = {row: index for index, row in enumerate(measured.rows)}
        return sum(measured.sums[place[row]] for row in rows) / sum(self.tokens[row] for row in rows)

    @property
    def _all(self) -> tuple[int, ...]:
        return tuple(range(len(self.encoded)))

    def _replayed(self, phase: str, weights: tuple[float, ...], rows: tuple[int, ...] | None, gradient: bool) -> Measured | None:
        """Find the next evaluation of the history that is this one. Others in between come from another run and are passed over."""
        for index in range(self._cursor, len(self._history)):
            past = self._history[index]
            if past.phase == phase and tuple(past.weights) == weights and _rows(past) == rows and (not gradient or "gradient" in past.detail):
                self._cursor = index + 1
                self.limit.replay(past)
                return _restored(past, self._all if rows is None else rows)
        return None

    def _run(self, phase: str, weights: np.ndarray, rows: tuple[int, ...], gradient: bool) -> Measured:
        vector = torch.tensor(weights, dtype=torch.float32, device=self.bank.base.device, requires_grad=gradient)
        sums: dict[int, float] = {}
        exact: dict[int, bool] = {}
        space = "exact" if phase in ("base", "single", "uniform") else self._space
        with self.bank.mixed(vector, space, self.active if gradient else None):
            for batch in self._batches_of(rows, examples.GRADIENT_TOKENS if gradient else examples.BATCH_TOKENS):
                with _recording(vector.device) if gradient else torch.inference_mode():
                    outcome = examples.run(self.bank.base, batch)
                if gradient:
                    outcome.total.backward(retain_graph=True)
                sums.update(zip(batch.rows, outcome.sums, strict=True))
                exact.update(zip(batch.rows, outcome.exact, strict=True))
                del outcome  # and with it the activations, before the next batch makes its own
        tokens = sum(self.tokens[row] for row in rows)
        slope = None if vector.grad is None else tuple((vector.grad / tokens).flatten().tolist())
        return Measured((), rows, sum(sums[r] for r in rows) / tokens, tuple(sums[r] for r in rows), tuple(exact[r] for r in rows), slope)

    def _batches_of(self, rows: tuple[int, ...], tokens: int) -> list[Batch]:
        if (rows, tokens) not in self._batches:
            self._batches[rows, tokens] = examples.batches(self.bank.base, [self.encoded[row] for row in rows], tokens)
        return self._batches[rows, tokens]

    def _improve(self, measured: Measured) -> None:
        if measured.loss < self._best:
            self._best = measured.loss
            self._observer.improved(dict(zip(self._ids, measured.weights, strict=True)), measured.loss)


@contextmanager
def _recording(device: torch.device) -> Iterator[None]:
    # On a CPU the backward of fused attention takes longer than that of its plain products.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext():
        yield


def _rows(evaluation: Evaluation) -> tuple[int, ...] | None:
    return None if evaluation.rows is None else tuple(evaluation.rows)


def _detail(measured: Measured) -> Mapping[str, object]:
    detail: dict[str, object] = {"sums": list(measured.sums), "exact": [int(e) for e in measured.exact]}
    if measured.gradient is not None:
        detail["gradient"] = base64.b64encode(np.array(measured.gradient, "<f4").tobytes()).decode()
    return detail


def _restored(past: Evaluation, rows: tuple[int, ...]) -> Measured:
    gradient = past.detail.get("gradient")
    return Measured(
        weights=tuple(past.weights),
        rows=rows,
        loss=past.loss,
        sums=tuple(past.detail["sums"]),
        exact=tuple(bool(e) for e in past.detail["exact"]),
        gradient=None if gradient is None else tuple(np.frombuffer(base64.b64decode(gradient), "<f4").tolist()),
    )
