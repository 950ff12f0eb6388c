"""Makes models of real sizes with random weights, and LoRA modules for them: the speed of a product does not depend on its numbers."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, LlamaConfig, PretrainedConfig, PreTrainedTokenizerFast, T5Config

SPECIAL = ["<pad>", "</s>", "<unk>", "Answer", ":"]
SMALL_LLAMA = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
    "max_position_embeddings": 2048, "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip
SMALL_T5 = {
    "vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8, "num_decoder_layers": 8, "num_heads": 6,
    "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip


def llama(folder: Path) -> Path:
    """A decoder of the sizes of SmolLM2-135M."""
    return _model(folder, LlamaConfig(**SMALL_LLAMA))


def t5(folder: Path) -> Path:
    """An encoder-decoder of the sizes of flan-t5-small."""
    return _model(folder, T5Config(**SMALL_T5))


def _model(folder: Path, config: PretrainedConfig) -> Path:
    if not (folder / "model.safetensors").is_file():
        torch.manual_seed(0)
        family = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        family.from_config(config).save_pretrained(folder)
        words = {word: number for number, word in enumerate([*SPECIAL, *(f"w{number}" for number in range(config.vocab_size - len(SPECIAL)))])}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>", pad_token="<pad>", model_input_names=["input_ids", "attention_mask"]
        ).save_pretrained(folder)
        _name_plainly(folder / "tokenizer_config.json")
    return folder


def _name_plainly(path: Path) -> None:
    # Older releases of transformers know the fast tokenizer by this name alone.
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"}))


def modules(folder: Path, base: Path, count: int, rank: int, ends: tuple[str, ...]) -> list[Path]:
    """Adapters with random factors on every layer whose name ends so."""
    shapes = _shapes(base, ends)
    kind = "SEQ_2_SEQ_LM" if AutoConfig.from_pretrained(base).is_encoder_decoder else "CAUSAL_LM"
    config = {
        "peft_type": "LORA", "task_type": kind, "base_model_name_or_path": str(base), "r": rank, "lora_alpha": 2 * rank, "target_modules": list(ends),
        "bias": "none", "inference_mode": True, "lora_dropout": 0.0, "fan_in_fan_out": False, "init_lora_weights": True, "modules_to_save": None,
    }  # fmt: skip
    made = []
    for number in range(count):
        own = folder / f"m{number:04d}"
        if not (own / "adapter_model.safetensors").is_file():
            own.mkdir(parents=True, exist_ok=True)
            (own / "adapter_config.json").write_text(json.dumps(config))
            generator = torch.Generator().manual_seed(number)
            tensors = {}
            for name, (outputs, inputs) in shapes.items():
                for side, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
                    tensors[f"base_model.model.{name}.lora_{side}.weight"] = torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.02, generator=generator)
            save_file(tensors, own / "adapter_model.safetensors", metadata={"format": "pt"})
        made.append(own)
    return made


def _shapes(base: Path, ends: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    config = AutoConfig.from_pretrained(base)
    with torch.device("meta"):
        model = (AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM).from_config(config)
    return {name: tuple(layer.weight.shape) for name, layer in model.named_modules() if name.rsplit(".", 1)[-1] in ends}
