"""Makes small adapters for tests: real safetensors bytes, no torch."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from safetensors.numpy import save

BASE = "tiny/llama"
SHAPES = {"q_proj": (32, 32), "k_proj": (16, 32), "v_proj": (16, 32), "o_proj": (32, 32)}  # out, in


def tensors(*, rank: int = 4, targets: Iterable[str] = ("q_proj", "v_proj"), layers: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """LoRA factors for a two-layer Llama of width 32: A (rank, in), B (out, rank)."""
    random = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for layer in range(layers):
        for target in targets:
            rows, columns = SHAPES[target]
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{target}"
            found[f"{prefix}.lora_A.weight"] = random.normal(0, 0.1, (rank, columns)).astype(np.float32)
            found[f"{prefix}.lora_B.weight"] = random.normal(0, 0.1, (rows, rank)).astype(np.float32)
    return found


def config(*, rank: int = 4, targets: Iterable[str] = ("q_proj", "v_proj"), base: str = BASE, **more: Any) -> dict[str, Any]:
    """An adapter_config.json as PEFT writes it, as far as it matters."""
    return {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": sorted(targets),
        "bias": "none",
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_rslora": False,
        "use_dora": False,
        **more,
    }


def adapter(*, rank: int = 4, targets: Iterable[str] = ("q_proj", "v_proj"), base: str = BASE, seed: int = 0, card: str = "", **more: Any) -> dict[str, bytes]:
    """The files of an adapter by path."""
    targets = tuple(targets)
    files = {
        "adapter_config.json": json.dumps(config(rank=rank, targets=targets, base=base, **more)).encode(),
        "adapter_model.safetensors": save(tensors(rank=rank, targets=targets, seed=seed)),
    }
    if card:
        files["README.md"] = card.encode()
    return files


def header(weights: bytes) -> Mapping[str, Any]:
    """The JSON header of safetensors bytes."""
    return json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
