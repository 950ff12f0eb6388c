"""The way of an adapter through peft and transformers: push, pull, load, compare, and let a trainer push itself. Prints what it found as JSON."""

import json
import sys
import tempfile
from pathlib import Path

import torch
from huggingface_hub import HfApi, hf_hub_download
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

owner, operator, operators_token = sys.argv[1:]
torch.manual_seed(0)
sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
LlamaForCausalLM(LlamaConfig(**sizes)).push_to_hub(f"{operator}/tiny-base", token=operators_token)

TOKENS = torch.arange(10)[None]


def answer(model: torch.nn.Module) -> list[float]:
    """The last logits."""
    with torch.no_grad():
        return [round(value, 4) for value in model(TOKENS).logits[0, -1, :8].tolist()]


def base() -> torch.nn.Module:
    """The base model, from the hub."""
    return AutoModelForCausalLM.from_pretrained(f"{operator}/tiny-base")


found = {"base": answer(base())}
for dtype in ("float32", "bfloat16", "float16"):
    model = get_peft_model(base(), LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    with tempfile.TemporaryDirectory() as folder:
        model.to(getattr(torch, dtype)).save_pretrained(folder)
        model.push_to_hub(f"{owner}/lora-{dtype}")
        found[f"made {dtype}"] = answer(PeftModel.from_pretrained(base(), folder).float())
        pulled_file = hf_hub_download(f"{owner}/lora-{dtype}", "adapter_model.safetensors")
        found[f"same bytes {dtype}"] = Path(pulled_file).read_bytes() == (Path(folder) / "adapter_model.safetensors").read_bytes()
    pulled = PeftModel.from_pretrained(base(), f"{owner}/lora-{dtype}")
    found[f"pulled {dtype}"] = answer(pulled.float())

found["config"] = PeftConfig.from_pretrained(f"{owner}/lora-float32").base_model_name_or_path
found["auto peft"] = answer(AutoPeftModelForCausalLM.from_pretrained(f"{owner}/lora-float32"))
found["auto model"] = answer(AutoModelForCausalLM.from_pretrained(f"{owner}/lora-float32"))
two = PeftModel.from_pretrained(base(), f"{owner}/lora-float32", adapter_name="one")
two.load_adapter(f"{owner}/lora-bfloat16", adapter_name="two")
two.set_adapter("two")
found["second adapter"] = answer(two.float())
plain = base()
plain.load_adapter(f"{owner}/lora-float32")
found["transformers load_adapter"] = answer(plain)
sha = HfApi().model_info(f"{owner}/lora-float32").sha
found["at a revision"] = answer(PeftModel.from_pretrained(base(), f"{owner}/lora-float32", revision=sha))
with tempfile.TemporaryDirectory() as folder:
    pushing = {"push_to_hub": True, "hub_model_id": f"{owner}/trained", "hub_strategy": "checkpoint"}
    settings = TrainingArguments(folder, max_steps=1, save_steps=1, report_to="none", use_cpu=True, disable_tqdm=True, **pushing)
    example = {"input_ids": TOKENS[0], "labels": TOKENS[0]}
    trainer = Trainer(get_peft_model(base(), LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")), settings, train_dataset=[example])
    trainer.train()
    trainer.push_to_hub()
    found["trained here"] = sorted(path.name for path in Path(folder).rglob("*") if path.is_file())
    found["trained"] = HfApi().list_repo_files(f"{owner}/trained")
try:
    PeftModel.from_pretrained(base(), f"{owner}/none")
except (ValueError, OSError) as error:
    found["missing"] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
