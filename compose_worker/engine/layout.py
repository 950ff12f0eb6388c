"""Says in adapter_config.json where an adapter hangs and with which ranks, so that every loader reads it alike."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers.pytorch_utils import Conv1D

from compose_worker.engine import modules
from compose_worker.engine.base_models import Base
from compose_worker.engine.modules import Adapter


@dataclass(frozen=True)
class Layout:
    """What is known of the model that an adapter hangs on."""

    base_model: str
    task_type: str | None
    layers: tuple[str, ...] | None  # every layer a LoRA can hang on; None where the model itself is not at hand
    fan_in_fan_out: frozenset[str]  # layers that store their weight the other way round; without the model: any of them

    @classmethod
    def of(cls, base: Base, base_model: str) -> "Layout":
        """The layout of a loaded model."""
        layers = base.layers()
        return cls(base_model, base.task_type, tuple(layers), frozenset(name for name, layer in layers.items() if isinstance(layer, Conv1D)))

    @classmethod
    def from_adapters(cls, adapters: Sequence[Adapter], base_model: str) -> "Layout":
        """What the adapters' own configs say of a model that is not at hand."""
        configs = [json.loads((Path(adapter.module.path) / modules.CONFIG).read_text(encoding="utf-8")) for adapter in adapters]
        kinds = {str(config["task_type"]) for config in configs if config.get("task_type")}
        turned = {name for config, adapter in zip(configs, adapters, strict=True) if config.get("fan_in_fan_out") for name in adapter.parts}
        return cls(base_model, kinds.pop() if len(kinds) == 1 else None, None, frozenset(turned))

    def config(self, ranks: Mapping[str, int], profile: str) -> dict[str, object]:
        """The content of adapter_config.json. With alpha = r every loader scales by 1, however it reads rslora."""
        rank = max(ranks.values())
        others = {name: own for name, own in sorted(ranks.items()) if own != rank}
        return {
            "alpha_pattern": others,
            "base_model_name_or_path": self.base_model,
            "bias": "none",
            "fan_in_fan_out": not self.fan_in_fan_out.isdisjoint(ranks),
            "inference_mode": True,
            "init_lora_weights": True,
            "lora_alpha": rank,
            "lora_dropout": 0.0,
            "modules_to_save": None,
            "peft_type": "LORA",
            "r": rank,
            "rank_pattern": others,
            "revision": None,
            "target_modules": self._targets(sorted(ranks), profile),
            "task_type": self.task_type,
            "use_dora": False,
            "use_rslora": False,
        }

    def _targets(self, names: Sequence[str], profile: str) -> list[str]:
        """The last parts of the names where they mean exactly these layers, else the whole names.

        Without the model nobody knows what they would mean. Servers that want last parts take the tensors that are there and no more.
        """
        ends = {name.rsplit(".", 1)[-1] for name in names}
        if any(end.isdigit() for end in ends):  # in a list of modules, where a number means whole layers of the model too
            return list(names)
        if self.layers is None:
            return sorted(ends) if profile == "serving" else list(names)
        meant = [layer for layer in self.layers if layer.rsplit(".", 1)[-1] in ends]
        return sorted(ends) if sorted(meant) == sorted(names) else list(names)
