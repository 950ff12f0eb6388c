"""Tiny random models, a word-level tokenizer and LoRA modules made with peft, for the engine's tests."""

import copy
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from compose_worker.engine import bank, base_models, catalogue, hot
from compose_worker.engine.modules import WEIGHTS
from compose_worker.engine.spec import PROMPT, Example, Module, Spec

WORDS = [f"w{i}" for i in range(40)]
VOCABULARY = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", "Answer", ":", *WORDS])}
FAMILIES = {"llama": LlamaForCausalLM, "gpt2": GPT2LMHeadModel, "t5": T5ForConditionalGeneration}
TARGETS = {"llama": ["q_proj", "v_proj"], "gpt2": ["c_attn"], "t5": ["q", "v"]}


def _model(kind):
    size = len(VOCABULARY)
    ends = {"pad_token_id": 0, "eos_token_id": 1}
    if kind == "llama":
        config = LlamaConfig(
            vocab_size=size, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=64, tie_word_embeddings=False, bos_token_id=None, **ends,
        )  # fmt: skip
    elif kind == "gpt2":
        config = GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=None, **ends)
    else:
        config = T5Config(vocab_size=size, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0, **ends)
    torch.manual_seed(1)
    model = FAMILIES[kind](config)
    with torch.no_grad():  # a fresh model says everything with equal probability; a sharper one tells mixes apart
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.mul_(6.0 if kind != "t5" else 1.5)
            if name == "lm_head.weight":
                parameter.mul_(2.0)
    return model


def save_tokenizer(folder, eos="</s>", pad="<pad>", appends_eos=False):
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if appends_eos:
        tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token=eos, pad_token=pad).save_pretrained(folder)


@pytest.fixture(scope="session")
def base_paths(tmp_path_factory):
    paths = {}
    for kind in FAMILIES:
        folder = tmp_path_factory.mktemp(kind)
        _model(kind).save_pretrained(folder)
        save_tokenizer(folder, appends_eos=kind == "t5")
        paths[kind] = str(folder)
        if kind == "llama":  # the same model with a tokenizer that has no end token, for answers that the model itself gave
            paths["endless"] = str(tmp_path_factory.mktemp("endless"))
            _model(kind).save_pretrained(paths["endless"])
            save_tokenizer(paths["endless"], eos=None)
    yield paths
    base_models.forget()
    hot.forget()


@pytest.fixture(params=["llama", "t5", "gpt2"])
def kind(request):
    return request.param


@pytest.fixture
def load(base_paths):
    return lambda kind: base_models.load(base_paths[kind], "cpu", "float32")


def write_adapter(folder, model, seed, size=0.15, **settings):
    """Save a LoRA with random factors as peft itself saves it."""
    config = LoraConfig(**{"r": 4, "lora_alpha": 8, "task_type": "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM", **settings})
    peft = get_peft_model(copy.deepcopy(model), config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if ".lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
    peft.save_pretrained(folder, save_embedding_layers=False)
    return Module(id=f"acme/m{seed}", revision=f"{seed:040x}", path=str(folder), licence="apache-2.0")


@pytest.fixture(scope="session")
def adapters(base_paths, tmp_path_factory):
    """Make (and remember) a module: `adapters(kind, seed, **LoraConfig)`."""
    made = {}

    def make(kind, seed=0, size=0.15, **settings):
        settings.setdefault("target_modules", TARGETS[kind])
        key = (kind, seed, size, json.dumps(settings, sort_keys=True))
        if key not in made:
            base = base_models.load(base_paths[kind], "cpu", "float32")
            made[key] = write_adapter(tmp_path_factory.mktemp(f"{kind}-m{seed}"), base.model, seed, size, **settings)
        return made[key]

    return make


SIZES = {"llama": 0.15, "gpt2": 0.15, "t5": 0.25}
MIXED = (
    {},
    {"r": 2, "lora_alpha": 3},
    {"r": 8, "lora_alpha": 8, "use_rslora": True},
)


@pytest.fixture
def three(adapters):
    """Three modules of different rank, scale and, on Llama, target layers."""

    def make(kind):
        more = {"llama": ["q_proj", "k_proj", "o_proj", "down_proj"], "t5": ["q", "k", "wo"], "gpt2": ["c_attn", "c_proj"]}[kind]
        return tuple(
            adapters(kind, seed + 1, SIZES[kind], **({**settings, "target_modules": more} if seed == 1 else settings)) for seed, settings in enumerate(MIXED)
        )

    return make


def make_examples(count=8, seed=0):
    """Examples of different lengths with one- to three-word answers."""
    chance = random.Random(seed)
    return tuple(
        Example(" ".join(chance.choices(WORDS, k=chance.randint(3, 12))), " ".join(chance.choices(WORDS, k=chance.randint(1, 3)))) for _ in range(count)
    )


@pytest.fixture
def taught(load):
    """Make examples whose answers a given mix of modules gives: a task that the mix solves."""

    def make(modules, weights, count=12, seed=0):
        base = load("endless")
        words = [VOCABULARY[word] for word in WORDS]
        examples = []
        with bank.load(base, modules).mixed(torch.tensor(weights)), torch.inference_mode():
            for example in make_examples(count, seed):
                asked = base.tokenizer(PROMPT.replace("{input}", example.input), return_tensors="pt")["input_ids"]
                answer = words[int(base.model(asked).logits[0, -1, words].argmax())]
                examples.append(Example(example.input, base.tokenizer.decode([answer])))
        return tuple(examples)

    return make


class Watcher:
    """An observer that remembers all it is told."""

    def __init__(self, stop_after=None, enough_after=None):
        self.stop_after = stop_after
        self.enough_after = enough_after
        self.total = 0
        self.stages = []
        self.evaluations = []
        self.best = []

    def planned(self, total):
        self.total = total

    def stage(self, name, sentence):
        self.stages.append(name)
        assert sentence.endswith(".")

    def evaluated(self, evaluation):
        if self.stop_after is not None and len(self.evaluations) >= self.stop_after:
            raise Stopped
        self.evaluations.append(evaluation)

    def improved(self, weights, loss):
        self.best.append((dict(weights), loss))

    def enough(self):
        return self.enough_after is not None and len(self.evaluations) >= self.enough_after


class Stopped(Exception):
    """Raised by a watcher that wants the composition to stop."""


@pytest.fixture
def make_spec(base_paths, tmp_path):
    """Make a spec for a tiny model; every call gets a folder of its own."""
    count = iter(range(1000))

    def make(kind, modules, method="medley", settings=None, **changes):
        out = tmp_path / f"out{next(count)}"
        out.mkdir()
        spec = Spec(
            base_model=f"acme/tiny-{kind}",
            base_path=base_paths[kind],
            modules=tuple(modules),
            examples=make_examples(),
            method=method,
            settings=catalogue.check(method, settings or {}),
            seed=0,
            name="acme/mix",
            out_dir=str(out),
            device="cpu",
            dtype="float32",
        )
        return replace(spec, **changes)

    return make


def edit_config(module, folder, **changes):
    """Copy a module with changes to its config."""
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    config = json.loads((Path(module.path) / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    (folder / "adapter_model.safetensors").write_bytes((Path(module.path) / "adapter_model.safetensors").read_bytes())
    return replace(module, path=str(folder))


def grown(module, folder, times):
    """Copy a module with its factors multiplied, so that its change is `times` squared as large."""
    copied = replace(edit_config(module, folder), id=f"acme/{folder.name}")
    tensors = load_file(Path(module.path) / WEIGHTS)
    save_file({name: tensor * times for name, tensor in tensors.items()}, folder / WEIGHTS)
    return copied
