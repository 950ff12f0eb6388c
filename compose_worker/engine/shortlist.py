"""Ranks a whole catalogue of modules by what a little more of each would do to the loss; they are streamed from disk, never hung on the model.

To first order, adding `w` of a module changes the loss by `w * sum over layers of s <B A, G>`, where G is the slope of the loss by the layer's
weights: one forward and backward gives it for all layers, and two thin products a layer then give the number for a module, however many there are.

The slopes are taken where the base model already carries the mean of a few modules. At the bare base model they mostly say "answer in the style of
the examples", which every module does; past that they tell the modules apart (docs/benchmarks/speed.md has the numbers).
"""

import math
import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from compose_worker.engine import bank as banks
from compose_worker.engine import examples, memory, modules, sizes
from compose_worker.engine.base_models import Base
from compose_worker.engine.errors import ComposeError
from compose_worker.engine.examples import Batch, Encoded
from compose_worker.engine.modules import Adapter, Part
from compose_worker.engine.spec import Evaluation, Module, Observer, Spec

PHASE = "shortlist"  # of the evaluation that remembers what was kept
ANCHOR = 8  # modules whose mean the base model carries while the slopes are taken
TOGETHER = 16  # modules whose products are taken at once


@dataclass(frozen=True)
class Narrowed:
    """What is left of a catalogue, for the report."""

    spec: Spec  # with the modules that are left, and the history that knows them
    looked_at: int
    refused: dict[str, str]  # by module id: why it cannot be composed
    copies: dict[str, str]  # by module id: the module left whose weights it has
    effects: dict[str, float]  # by module id, for those that are left; empty where all could be tried


@dataclass(frozen=True)
class Ranked:
    """A catalogue in the order of promise."""

    effects: dict[int, float]  # first-order change of the mean loss by module, the lowest first; of one that is far too large, a part of it
    refused: dict[int, str]  # why a module cannot be composed
    loss: float  # at the point where the slopes were taken


def narrow(spec: Spec, base: Base, encoded: Sequence[Encoded], tried: int, observer: Observer) -> Narrowed:
    """Leave out the modules that cannot be composed and, of more than `tried`, the least promising. The history remembers what was kept."""
    past = _past(spec)
    detail = past.detail if past is not None else _narrowed(spec, base, encoded, tried)
    kept = [module for module in spec.modules if module.id in set(detail["kept"])]
    if not kept:
        first = next(iter(detail["refused"].values()))
        raise ComposeError("modules-missing", f"None of the {len(spec.modules)} adapters found can be composed. {first}")
    if past is None:
        past = Evaluation(max((e.step for e in spec.history), default=-1) + 1, PHASE, (), detail["loss"], None, detail)
        observer.evaluated(past)
    history = tuple(e for e in (*spec.history, past) if e.step > past.step or e is past)
    left = replace(spec, modules=tuple(kept), history=history)
    return Narrowed(left, len(spec.modules), dict(detail["refused"]), dict(detail.get("copies", {})), dict(detail["effects"]))


def _past(spec: Spec) -> Evaluation | None:
    """What was kept before, unless some of that is gone since: then another one, of which it was a copy perhaps, may take its place."""
    last = next((e for e in reversed(spec.history) if e.phase == PHASE), None)
    return last if last is not None and set(last.detail["kept"]) <= {module.id for module in spec.modules} else None


def _narrowed(spec: Spec, base: Base, encoded: Sequence[Encoded], tried: int) -> Mapping[str, Any]:
    fine, refused = readable(base, spec.modules)
    copies = _copies(fine)
    fine = {index: adapter for index, adapter in fine.items() if index not in copies}
    if len(fine) > tried:
        ranked = rank(base, encoded, fine, spec.seed, spec.forward_tokens)
    else:
        spoilt = {index: reason for index, adapter in fine.items() if (reason := _spoilt(adapter))}
        ranked = Ranked({index: 0.0 for index in fine if index not in spoilt}, spoilt, 0.0)
    kept = sorted(list(ranked.effects)[:tried])
    ids = [module.id for module in spec.modules]
    return {
        "kept": [ids[index] for index in kept],
        "refused": {ids[index]: reason for index, reason in {**refused, **ranked.refused}.items()},
        "copies": {ids[index]: ids[first] for index, first in copies.items() if first in ranked.effects},
        "effects": {ids[index]: ranked.effects[index] for index in kept} if len(fine) > tried else {},
        "loss": ranked.loss,
    }


def readable(base: Base, chosen: Sequence[Module]) -> tuple[dict[int, Adapter], dict[int, str]]:
    """The modules that fit the base model, by their index; and why the others do not."""
    layers = base.layers()
    shapes: dict[Any, dict[str, Part]] = {}  # most modules of a catalogue share a few shapes: each is kept once
    fine: dict[int, Adapter] = {}
    refused: dict[int, str] = {}
    for index, module in enumerate(chosen):
        try:
            parts = modules.read(module, layers).parts
        except ComposeError as error:
            refused[index] = error.message
        else:
            fine[index] = Adapter(module, shapes.setdefault(tuple(parts.items()), parts))
    return fine, refused


def _copies(fine: Mapping[int, Adapter]) -> dict[int, int]:
    """The modules with the weights of an earlier one: side by side they would take the places of others and count twice in every mean."""
    first: dict[Any, int] = {}
    copies: dict[int, int] = {}
    for index, adapter in fine.items():
        weights = adapter.module.weights_sha256 or modules.sha256(adapter.module, modules.WEIGHTS)
        key = (weights, tuple(adapter.parts.items()))  # the same numbers under another alpha are another module
        if first.setdefault(key, index) != index:
            copies[index] = first[key]
    return copies


def rank(base: Base, encoded: Sequence[Encoded], fine: Mapping[int, Adapter], seed: int, forward_tokens: int = 0) -> Ranked:
    """Order modules by their first-order effect on the loss of the examples; those whose numbers are not finite are refused."""
    refused: dict[int, str] = {}
    anchor = _anchor(fine, seed, refused)
    tokens = examples.room(base, forward_tokens, backward=True)
    names = {name for adapter in fine.values() for name in adapter.parts}
    total, slopes = _slopes(base, [fine[index] for index in anchor], encoded, names, tokens)
    if total >= examples.OVERFLOW:  # a module of the anchor is too large for any prediction: the bare base model has none
        total, slopes = _slopes(base, [], encoded, names, tokens)
    found: dict[int, _Effect] = {}
    places = [index for index in fine if index not in refused]
    for begin in range(0, len(places), TOGETHER):
        found.update(_effects({i: fine[i] for i in places[begin : begin + TOGETHER]}, slopes, refused))
    usual = _usual([effect.squared for effect in found.values()])
    answers = sum(len(e.answer) for e in encoded)
    effects = {index: effect.value / answers / _excess(effect.squared, usual) for index, effect in found.items()}
    for index in [index for index, effect in effects.items() if not math.isfinite(effect)]:
        refused[index] = f"The numbers of the adapter {fine[index].module.id} are too large to rank it. Leave it out."
        del effects[index]
    order = sorted(effects, key=lambda index: (effects[index], index))
    return Ranked({index: effects[index] for index in order}, refused, total / answers)


def _usual(squares: Sequence[float]) -> float:
    """The median size of modules with these squared sizes; untrained ones have none."""
    some = [math.sqrt(square) for square in squares if square > 0]
    return statistics.median_low(some) if some else math.inf


def _excess(squared: float, usual: float) -> float:
    """How many times the usual size a module is that is far too large, so that it counts as if it were of that; 1 for others."""
    times = math.sqrt(squared) / usual
    return times if times > sizes.LARGE else 1.0


def _anchor(fine: Mapping[int, Adapter], seed: int, refused: dict[int, str]) -> list[int]:
    """A few modules drawn by the seed, without those that are far larger than most of them."""
    drawn: dict[int, float] = {}
    for index in random.Random(seed).sample(sorted(fine), len(fine)):  # noqa: S311  not a secret
        if len(drawn) == ANCHOR:
            break
        try:
            drawn[index] = _squared(fine[index])
        except ComposeError as error:
            refused[index] = error.message
    usual = _usual(list(drawn.values()))
    return sorted(index for index, square in drawn.items() if _excess(square, usual) == 1)


def _squared(adapter: Adapter) -> float:
    """The squared size of the module's change of all layers."""
    return sum(adapter.parts[name].scale ** 2 * float(sizes.squared(a, b.t()).sum()) for name, a, b in modules.stored(adapter))


def _spoilt(adapter: Adapter) -> str:
    """Why the module's numbers cannot be used; empty if they can."""
    try:
        for _ in modules.stored(adapter):
            pass
    except ComposeError as error:
        return error.message
    return ""


class _Slope:
    """The slope of the loss by one layer's weight, (outputs, inputs): as the product of two thin factors while these are the smaller."""

    def __init__(self, layer: nn.Module) -> None:
        self._size = layer.weight.numel()  # type: ignore[operator]
        self._thin: list[tuple[Tensor, Tensor]] = []
        self._dense: Tensor | None = None

    def add(self, slopes: Tensor, inputs: Tensor) -> None:
        """Add a batch: of the output (tokens, outputs), and what went in (tokens, inputs)."""
        told = slopes.abs().amax(-1) > 0  # padding, and in the last layers whatever stands before the answers, has no slope
        self._thin.append((slopes[told], inputs[told]))
        kept = sum(d.numel() + x.numel() for d, x in self._thin)
        if self._dense is not None or kept > self._size:
            product = sum((d.float().t() @ x.float() for d, x in self._thin), start=torch.zeros(()))
            self._dense = product if self._dense is None else self._dense + product
            self._thin = []

    def close(self) -> None:
        """Lay the factors of all batches behind each other."""
        if self._thin:
            self._thin = [(torch.cat([d for d, _ in self._thin]), torch.cat([x for _, x in self._thin]))]

    def effects(self, a: Tensor, b: Tensor) -> Tensor:
        """`<b_r a_r, slope>` for every row r of the factors (R, inputs) and (R, outputs)."""
        if self._dense is not None:
            return ((a.to(self._dense) @ self._dense.t()) * b.to(self._dense)).sum(-1)
        if not self._thin:
            return torch.zeros(len(a))
        slopes, inputs = self._thin[0]
        return ((inputs @ a.to(inputs).t()).float() * (slopes @ b.to(slopes).t()).float()).sum(0)


def _slopes(base: Base, anchor: Sequence[Adapter], encoded: Sequence[Encoded], names: set[str], tokens: int) -> tuple[float, dict[str, _Slope]]:
    """One forward and backward of the base model with the mean of the anchor: the summed loss, and the slope of every layer named."""
    layers = base.layers()
    bank = banks.Bank(base, anchor)

    def run(made: Sequence[Batch]) -> tuple[float, dict[str, _Slope]]:
        slopes = {name: _Slope(layers[name]) for name in sorted(names)}
        with bank.mixed(torch.full((len(anchor),), 1 / max(1, len(anchor)))), _watched(layers, slopes):
            total = sum(_backward(base, batch) for batch in made)
        for slope in slopes.values():
            slope.close()
        return total, slopes

    found, _ = memory.fitting(tokens, lambda fewer: examples.batches(base, encoded, fewer), run, base.device)
    return found


def _backward(base: Base, batch: Batch) -> float:
    with torch.enable_grad():
        outcome = examples.run(base, batch)
        if outcome.total.requires_grad:
            outcome.total.backward()
    return sum(outcome.sums)


@contextmanager
def _watched(layers: Mapping[str, nn.Module], slopes: Mapping[str, _Slope]) -> Iterator[None]:
    """Let every forward and backward add to the slopes."""

    def watch(slope: _Slope) -> Any:
        def see(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            inputs = args[0].detach()
            seen = output if output.requires_grad else output.detach().requires_grad_()
            seen.register_hook(lambda grad: slope.add(grad.reshape(-1, grad.shape[-1]), inputs.reshape(-1, inputs.shape[-1])))
            return seen.clone()  # some models add to what a layer gave them, in place

        return see

    with ExitStack() as stack:
        for name, slope in slopes.items():
            stack.callback(layers[name].register_forward_hook(watch(slope)).remove)
        yield


def _wide(factor: Tensor) -> Tensor:
    """Numbers of one byte do not stand beside others."""
    return factor.float() if factor.dtype.itemsize == 1 else factor


@dataclass
class _Effect:
    """What a module does to the summed loss, to first order, and the squared size of its change."""

    value: float = 0.0
    squared: float = 0.0


def _effects(some: Mapping[int, Adapter], slopes: Mapping[str, _Slope], refused: dict[int, str]) -> dict[int, _Effect]:
    """The effect of a few modules, their factors of a layer below each other."""
    pieces: dict[str, list[tuple[int, Tensor, Tensor]]] = {}
    for index, adapter in some.items():
        try:
            own = list(modules.stored(adapter))
        except ComposeError as error:
            refused[index] = error.message
            continue
        for name, a, b in own:
            pieces.setdefault(name, []).append((index, _wide(a), _wide(b)))
    found = {index: _Effect() for index in some if index not in refused}
    for name, parts in pieces.items():
        a, b = torch.cat([a for _, a, _ in parts]), torch.cat([b.t() for _, _, b in parts])
        effects, squares = slopes[name].effects(a, b).double(), sizes.squared(a, b)
        begin = 0
        for index, own_a, _ in parts:
            rows, scale = slice(begin, begin + len(own_a)), some[index].parts[name].scale
            found[index].value += scale * float(effects[rows].sum())
            found[index].squared += scale**2 * float(squares[rows].sum())
            begin += len(own_a)
    return found
