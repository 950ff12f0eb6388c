"""Measures candidate mixes on the examples and is the checkpoint: what the history holds is replayed, never measured again."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from compose_worker.engine import examples, memory
from compose_worker.engine.bank import Bank
from compose_worker.engine.examples import Batch, Encoded
from compose_worker.engine.limit import Limit
from compose_worker.engine.spec import Evaluation, Observer, Spec

CHUNK = 4096  # tokens that candidates are taken together for: enough to fill forwards, few enough that a cancelled job stops soon
FITTING = "forward_tokens"  # in an evaluation's detail: tokens in a forward, where they are fewer than usual
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

    @property
    def overflows(self) -> bool:
        """Whether a prediction was no finite number."""
        return max(self.sums) >= examples.OVERFLOW


Weights = Sequence[float] | np.ndarray  # a number for each module, or a row of them for each layer of the bank


@dataclass(frozen=True)
class _Wanted:
    """One candidate on some rows."""

    mix: np.ndarray  # (N,) or (layers, N)
    weights: tuple[float, ...]  # as the history names it: of a row for each layer, the mean
    subset: tuple[int, ...] | None  # as the history names it
    rows: tuple[int, ...]


class Evaluator:
    """The only way a method learns how good a candidate is."""

    def __init__(self, spec: Spec, bank: Bank, encoded: Sequence[Encoded], observer: Observer, space: str = "exact") -> None:
        self.bank = bank
        self.encoded = tuple(encoded)
        self.tokens = tuple(len(e.answer) for e in encoded)
        self.active: tuple[int, ...] = tuple(range(len(spec.modules)))  # modules that a gradient is wanted for
        self.spent = 0.0  # forwards over all examples
        self.forward_tokens = examples.room(bank.base, spec.forward_tokens)  # falls when the device runs out of memory
        self._whole = self.forward_tokens
        self._usual = examples.room(bank.base)
        self.limit = Limit(observer, float(spec.settings.get("seconds", 0)), spec.history)
        self.found: Measured | None = None  # the best that a search measured on all examples
        self._ids = tuple(module.id for module in spec.modules)
        self._observer = observer
        self._space = space
        self._history = tuple(spec.history)
        self._cursor = 0
        self._next_step = max((e.step for e in spec.history), default=-1) + 1
        self._best = float("inf")
        self._batches: dict[tuple[tuple[tuple[int, ...], ...], int], list[Batch]] = {}

    def measure(self, phase: str, weights: Weights, rows: Sequence[int] | None = None, gradient: bool = False) -> Measured:
        """Return the loss of the mix on `rows` (default: all), and its gradient if wanted, from the history where that has it."""
        return self.measure_many(phase, [weights], [rows], gradient)[0]

    def measure_many(
        self, phase: str, weights: Sequence[Weights], rows: Sequence[Sequence[int] | None] | None = None, gradient: bool = False
    ) -> list[Measured]:
        """`measure` for candidates that do not depend on each other, in the same forwards; `rows` by candidate (default: all rows for each).

        The history gets them one by one, in this order. A chunk of which the history has only a part is measured again as a whole:
        the last bits of a product depend on how many rows it has.
        """
        wanted = [self._wanted(w, None if rows is None else rows[index]) for index, w in enumerate(weights)]
        found: list[Measured] = []
        for chunk in self._chunks(phase, wanted):
            fresh: list[Measured] = []
            for index, one in enumerate(chunk):
                measured = self._replayed(phase, one, gradient)
                if measured is None:
                    self.limit.check()
                    fresh = fresh or self._run(phase, chunk, gradient)
                    measured = self._announced(phase, one, fresh[index])
                self._count(phase, one, measured, GRADIENT_COST if gradient else 1.0)
                found.append(measured)
        return found

    def take(
        self, phase: str, weights: tuple[float, ...], rows: Sequence[int] | None, run: Callable[[tuple[int, ...]], Measured], cost: float = 1.0
    ) -> Measured:
        """Return what the history has for a candidate that is more than a mix, or else what `run` measures on the rows, for `cost` forwards each."""
        wanted = self._wanted(weights, rows)
        measured = self._replayed(phase, wanted, False)
        if measured is None:
            self.limit.check()
            measured = self._announced(phase, wanted, replace(run(wanted.rows), weights=wanted.weights))
        self._count(phase, wanted, measured, cost)
        return measured

    def loss(self, measured: Measured, rows: Sequence[int]) -> float:
        """The loss of a measured candidate on some of its rows."""
        place = {row: index for index, row in enumerate(measured.rows)}
        return sum(measured.sums[place[row]] for row in rows) / sum(self.tokens[row] for row in rows)

    def _wanted(self, weights: Weights, rows: Sequence[int] | None) -> _Wanted:
        mix = np.asarray(weights, dtype=np.float64)
        subset = None if rows is None else tuple(rows)
        return _Wanted(mix, self.bank.mean(mix), subset, tuple(range(len(self.encoded))) if subset is None else subset)

    def _chunks(self, phase: str, wanted: Sequence[_Wanted]) -> list[list[_Wanted]]:
        """Candidates that share their forwards: few enough that a cancelled job stops soon, and the same however much is replayed."""
        alone = self._space_of(phase) != "exact" or not self.bank.takes_populations
        chunks: list[list[_Wanted]] = []
        room = 0
        for one in wanted:
            size = sum(len(self.encoded[row].prompt) + self.tokens[row] for row in one.rows)
            if chunks and size <= room and not alone:
                chunks[-1].append(one)
                room -= size
            else:
                chunks.append([one])
                room = CHUNK - size
        return chunks

    def _space_of(self, phase: str) -> str:
        return "exact" if phase in ("base", "single", "strength", "uniform") else self._space

    def _replayed(self, phase: str, wanted: _Wanted, gradient: bool) -> Measured | None:
        """Find the next evaluation of the history that is this one. Others in between come from another run and are passed over."""
        for index in range(self._cursor, len(self._history)):
            past = self._history[index]
            same = past.phase == phase and tuple(past.weights) == wanted.weights and _rows(past) == wanted.subset
            found = _restored(past, wanted.rows) if same else None
            if found is not None and (not gradient or len(found.gradient or ()) == wanted.mix.size):
                self._cursor = index + 1
                self.limit.replay(past)
                # What follows takes forwards of the same size, whatever this machine has room for: the last bits depend on it.
                self.forward_tokens = min(self._whole, int(past.detail.get(FITTING, self._whole)))
                return found
        return None

    def _announced(self, phase: str, wanted: _Wanted, measured: Measured) -> Measured:
        fewer = {FITTING: self.forward_tokens} if self.forward_tokens < max(self._whole, self._usual) else {}
        detail = {**_detail(measured), **self.limit.stamp(), **fewer}
        evaluation = Evaluation(self._next_step, phase, wanted.weights, measured.loss, wanted.subset, detail)
        self._next_step += 1
        self._observer.evaluated(evaluation)
        return measured

    def _count(self, phase: str, wanted: _Wanted, measured: Measured, cost: float) -> None:
        self.spent += len(measured.rows) / len(self.encoded) * cost
        if wanted.subset is None:
            self._improve(measured)
            if phase == "search" and (self.found is None or measured.loss < self.found.loss):
                self.found = measured

    def _run(self, phase: str, chunk: Sequence[_Wanted], gradient: bool) -> list[Measured]:
        """Measure; where the device runs out of memory, with half as much in a forward."""
        found, self.forward_tokens = memory.fitting(
            self.forward_tokens,
            lambda tokens: self._batches_of(chunk, examples.room(self.bank.base, tokens, backward=gradient)),
            lambda batches: self._forward(chunk, batches, self._space_of(phase), gradient),
            self.bank.base.device,
        )
        return found

    def _forward(self, chunk: Sequence[_Wanted], batches: Sequence[Batch], space: str, gradient: bool) -> list[Measured]:
        device = self.bank.base.device
        leaves = [torch.tensor(w.mix, dtype=torch.float32, device=device, requires_grad=gradient) for w in chunk]
        active = self.active if gradient else None
        sums: dict[tuple[int, int], float] = {}
        exact: dict[tuple[int, int], bool] = {}
        with self.bank.mixed(leaves[0], space, active) if len(chunk) == 1 else nullcontext():
            for batch in batches:
                with self.bank.populated(leaves, batch, active) if len(chunk) > 1 else nullcontext():
                    with _recording(device) if gradient else torch.inference_mode():
                        outcome = examples.run(self.bank.base, batch)
                    if gradient:
                        outcome.total.backward(retain_graph=True)
                keys = list(zip(batch.owners, batch.rows, strict=True))
                sums.update(zip(keys, outcome.sums, strict=True))
                exact.update(zip(keys, outcome.exact, strict=True))
                del outcome  # and with it the activations, before the next batch makes its own
        return [self._measured(owner, w, sums, exact, leaves[owner].grad) for owner, w in enumerate(chunk)]

    def _measured(
        self,
        owner: int,
        wanted: _Wanted,
        sums: Mapping[tuple[int, int], float],
        exact: Mapping[tuple[int, int], bool],
        slope: Tensor | None,
    ) -> Measured:
        tokens = sum(self.tokens[row] for row in wanted.rows)
        own = tuple(sums[owner, row] for row in wanted.rows)
        # Where numbers overflow there is no slope to follow.
        gradient = None if slope is None else tuple(torch.nan_to_num(slope / tokens, 0.0, 0.0, 0.0).flatten().tolist())
        return Measured(wanted.weights, wanted.rows, sum(own) / tokens, own, tuple(exact[owner, row] for row in wanted.rows), gradient)

    def _batches_of(self, chunk: Sequence[_Wanted], tokens: int) -> list[Batch]:
        key = (tuple(w.rows for w in chunk), tokens)
        if key not in self._batches:
            owners: dict[int, list[int]] = {}
            for owner, wanted in enumerate(chunk):
                for row in wanted.rows:
                    owners.setdefault(row, []).append(owner)
            rows = sorted(owners)
            self._batches[key] = examples.batches(self.bank.base, [self.encoded[row] for row in rows], tokens, [owners[row] for row in rows])
        return self._batches[key]

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


def _restored(past: Evaluation, rows: tuple[int, ...]) -> Measured | None:
    """What was measured, or None of a line that does not hold it."""
    if not len(past.detail.get("sums", ())) == len(past.detail.get("exact", ())) == len(rows):
        return None
    slopes = base64.b64decode(past.detail.get("gradient", ""))
    return Measured(
        weights=tuple(past.weights),
        rows=rows,
        loss=past.loss,
        sums=tuple(past.detail["sums"]),
        exact=tuple(bool(e) for e in past.detail["exact"]),
        gradient=tuple(np.frombuffer(slopes[: len(slopes) // 4 * 4], "<f4").tolist()) or None,
    )
