"""What the catalogue reads from an adapter's config and weights, which adapters can be composed, and which files do not belong together."""

import dataclasses
import json
import re
import time

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hub import adapter_format
from hub.adapter_config import Patterns
from hub.errors import HubError
from tests import make, raw_weights
from tests.raw_weights import file, inspect, lora, pair, refusal, weights

SOUND = weights(lora())
BOTH = ("q_proj", "v_proj")


def mismatch(content, **more):
    error = refusal(content, **more)
    assert error.code == "config-mismatch", error.message
    return error.message


def test_it_works():
    facts = inspect(SOUND)
    assert facts.peft_type == "LORA"
    assert facts.base_model == make.BASE
    assert facts.task_type == "CAUSAL_LM"
    assert (facts.rank, facts.alpha, facts.rank_pattern, facts.alpha_pattern) == (4, 8.0, {}, {})
    assert (facts.use_rslora, facts.use_dora) == (False, False)
    assert facts.target_modules == ["q_proj", "v_proj"]
    assert (facts.dtype, facts.parameters, facts.layers) == ("float32", 4 * (4 * 6 + 5 * 4), 2)
    assert facts.weights_bytes == len(SOUND)
    assert facts.tensors[0] == {"name": "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "dtype": "F32", "shape": [4, 6]}
    assert (facts.composable, facts.refusal) == (True, "")
    assert json.loads(json.dumps(dataclasses.asdict(facts))) == dataclasses.asdict(facts)


def test_a_file_of_the_safetensors_library():
    facts = inspect(safetensors.numpy.save(make.tensors(rank=4), metadata={"format": "pt"}))
    assert facts.composable
    assert facts.parameters == sum(array.size for array in make.tensors(rank=4).values())


def test_a_revision_without_an_adapter():
    assert adapter_format.inspect([]) is None
    assert adapter_format.inspect([file("README.md", b"# Soon"), file("sub/adapter_config.json", b"{")]) is None


def test_weights_missing():
    with pytest.raises(HubError) as caught:
        adapter_format.inspect([file("adapter_config.json", json.dumps(make.config()).encode())])
    assert caught.value.code == "weights-missing"


def test_config_missing():
    with pytest.raises(HubError) as caught:
        adapter_format.inspect([file("adapter_model.safetensors", SOUND)])
    assert caught.value.code == "config-missing"


def test_every_stream_is_closed():
    opened = []

    def stream(content):
        def opener():
            opened.append(file("x", content).open())
            return opened[-1]

        return opener

    files = {"adapter_model.safetensors": SOUND, "adapter_config.json": json.dumps(make.config()).encode(), "extra.safetensors": SOUND}
    adapter_format.inspect([adapter_format.File(path, len(content), stream(content)) for path, content in files.items()])
    assert len(opened) == 3
    assert all(one.closed for one in opened)


@pytest.mark.parametrize(
    ("dtype", "width", "name"), [("BF16", 2, "bfloat16"), ("F16", 2, "float16"), ("F32", 4, "float32"), ("F64", 8, "float64")], ids=lambda value: str(value)
)
def test_dtypes(dtype, width, name):
    facts = inspect(weights(lora(), dtype, width))
    assert (facts.dtype, facts.composable) == (name, True)


def test_mixed_dtypes():
    arrays = {name: np.zeros(shape, np.float16 if "q_proj" in name else np.float32) for name, shape in lora().items()}
    facts = inspect(safetensors.numpy.save(arrays))
    assert (facts.dtype, facts.composable) == ("mixed", True)


def test_defaults_of_peft_hold_where_the_config_is_silent():
    config = {"peft_type": "lora", "base_model_name_or_path": "gpt2", "target_modules": ["q_proj", "v_proj"]}
    facts = inspect(weights(lora(rank=8)), config)
    assert (facts.peft_type, facts.rank, facts.alpha, facts.use_rslora, facts.task_type, facts.composable) == ("LORA", 8, 8.0, False, "", True)


def test_layers_of_encoder_and_decoder_are_counted_apart():
    shapes = {}
    for side in ("encoder", "decoder"):
        for block in range(3):
            shapes |= pair(f"{side}.block.{block}.layer.0.SelfAttention.q")
    facts = inspect(weights(shapes), targets=["q"], task_type="SEQ_2_SEQ_LM")
    assert (facts.layers, facts.composable) == (6, True)


@pytest.mark.parametrize("targets", [r".*decoder.*(SelfAttention|EncDecAttention).*(q|v)$", "all-linear", None])
def test_targets_that_are_no_list_are_resolved_from_the_tensors(targets):
    facts = inspect(SOUND, target_modules=targets)
    assert (facts.target_modules, facts.composable) == (["q_proj", "v_proj"], True)


NOT_COMPOSABLE = {
    "DoRA": ({"use_dora": True}, "DoRA"),
    "bias": ({"bias": "lora_only"}, "biases of the base model"),
    "all biases": ({"bias": "all"}, "biases of the base model"),
    "LoRA bias": ({"lora_bias": True}, "biases of the LoRA layers"),
    "saved modules": ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    "replicated layers": ({"layer_replication": [[0, 2], [1, 2]]}, "repeats layers"),
    "trained tokens": ({"trainable_token_indices": [1, 2]}, "token embeddings"),
    "parameters": ({"target_parameters": ["experts.w"]}, "target_parameters"),
    "aLoRA": ({"alora_invocation_tokens": [1]}, "aLoRA"),
    "QALoRA": ({"use_qalora": True}, "QALoRA"),
    "BD-LoRA": ({"use_bdlora": {"nblocks": 2}}, "block-diagonal"),
    "Arrow": ({"arrow_config": {"top_k": 3}}, "Arrow"),
    "KaSA": ({"kasa_config": {"beta": 1}}, "KaSA"),
    "PiSSA": ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights"),
    "OLoRA": ({"init_lora_weights": "olora"}, "init_lora_weights"),
    "LoftQ": ({"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}}, "init_lora_weights"),
    "LoRA-GA": ({"init_lora_weights": "lora_ga"}, "init_lora_weights"),
    "no base": ({"base_model_name_or_path": None}, "does not name the base model"),
    "empty base": ({"base_model_name_or_path": ""}, "does not name the base model"),
    "absolute base": ({"base_model_name_or_path": "/home/me/llama"}, "a path on a computer"),
    "relative base": ({"base_model_name_or_path": "./llama"}, "a path on a computer"),
    "parent base": ({"base_model_name_or_path": "../llama"}, "a path on a computer"),
    "deep base": ({"base_model_name_or_path": "models/meta/llama"}, "a path on a computer"),
    "Windows base": ({"base_model_name_or_path": "C:\\llama"}, "a path on a computer"),
    "other revision": ({"revision": "v2"}, "another revision"),
    "classification": ({"task_type": "SEQ_CLS"}, "not text generation"),
    "regular expression for ranks": ({"rank_pattern": {r".*\.[0-9]+\.q_proj": 4}}, "regular expression"),
    "regular expression for alphas": ({"alpha_pattern": {"(q|v)_proj": 4}}, "regular expression"),
    "regular expression for exclusions": ({"exclude_modules": ".*lm_head"}, "regular expression"),
    "setting of tomorrow": ({"use_new_trick": {"a": 1}}, '"use_new_trick"'),
}


@pytest.mark.parametrize(("more", "reason"), NOT_COMPOSABLE.values(), ids=NOT_COMPOSABLE.keys())
def test_lora_of_another_kind_is_hosted_and_not_composed(more, reason):
    facts = inspect(SOUND, **more)
    assert not facts.composable
    assert reason in facts.refusal
    assert facts.refusal.endswith(".")
    assert facts.rank == 4


HARMLESS = [
    *({"init_lora_weights": value} for value in (True, False, None, "gaussian", "Gaussian", "eva", "orthogonal")),
    *({"revision": value} for value in (None, "", "main")),
    *({"base_model_name_or_path": value} for value in ("gpt2", "acme/base-1.5B_v2")),
    {"modules_to_save": [], "layer_replication": None, "trainable_token_indices": None, "use_new_trick": False, "arrow_config": None},
    {"lora_dropout": 0.1, "inference_mode": True, "peft_version": "0.21.2", "auto_mapping": {"parent_library": "transformers"}, "fan_in_fan_out": True},
    {"use_rslora": True, "task_type": None},
]


@pytest.mark.parametrize("more", HARMLESS, ids=str)
def test_settings_that_change_nothing(more):
    facts = inspect(SOUND, **more)
    assert (facts.composable, facts.refusal) == (True, "")


OTHER_TYPES = ["LOHA", "LOKR", "IA3", "VERA", "ADALORA", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "OFT", "BOFT", "HRA", "VBLORA", "RANDLORA", "NEW_ONE"]


@pytest.mark.parametrize("peft_type", OTHER_TYPES)
def test_other_peft_types_are_hosted_and_not_composed(peft_type):
    config = {"peft_type": peft_type, "base_model_name_or_path": "acme/base", "r": 4, "alpha": 3, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    facts = inspect(weights({"base_model.model.layers.0.q_proj.hada_w1_a": (4, 4), "prompt_embeddings": (8, 16)}), config)
    assert (facts.peft_type, facts.base_model, facts.rank, facts.alpha) == (peft_type, "acme/base", 4, 3.0)
    assert (facts.target_modules, facts.parameters, facts.composable) == (["q_proj"], 16 + 128, False)
    assert peft_type in facts.refusal


def test_other_peft_types_without_rank():
    facts = inspect(weights({"prompt_embeddings": (8, 16)}), {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 8})
    assert (facts.rank, facts.alpha, facts.target_modules, facts.layers) == (None, None, [], 0)


EXTRA = {
    "full weight": ("base_model.model.lm_head.weight", (9, 6), "lm_head"),
    "embedding table": ("base_model.model.model.embed_tokens.weight", (9, 6), "embed_tokens"),
    "magnitudes": ("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector.weight", (5,), "DoRA"),
    "bias": ("base_model.model.model.layers.0.self_attn.q_proj.bias", (5,), "bias"),
    "LoRA bias": ("base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias", (5,), "bias"),
    "adapter's name left in": ("base_model.model.model.layers.1.mlp.lora_A.default.weight", (4, 6), "lora_A.default.weight"),
    "an output layer as PEFT saves it": ("base_model.model.lm_head.base_layer.weight", (32, 6), "save_embedding_layers=False"),
    "without the prefix": ("model.layers.0.mlp.lora_A.weight", (4, 6), "no LoRA factor"),
    "unknown": ("base_model.model.surprise", (4, 6), "surprise"),
}


@pytest.mark.parametrize(("name", "shape", "reason"), EXTRA.values(), ids=EXTRA.keys())
def test_tensors_that_are_no_factors_keep_an_adapter_from_being_composed(name, shape, reason):
    """The config does not mention them: the file itself decides."""
    facts = inspect(weights(lora() | {name: shape}))
    assert not facts.composable
    assert reason in facts.refusal


def test_embedding_adapters():
    embedding = {"base_model.model.model.embed_tokens.lora_embedding_A": (4, 99), "base_model.model.model.embed_tokens.lora_embedding_B": (6, 4)}
    facts = inspect(weights(lora() | embedding), targets=[*BOTH, "embed_tokens"])
    assert (facts.target_modules, facts.composable) == (["embed_tokens", "q_proj", "v_proj"], False)
    assert "embedding" in facts.refusal


def test_convolutions():
    shapes = {"base_model.model.conv.lora_A.weight": (4, 3, 5, 5), "base_model.model.conv.lora_B.weight": (8, 4, 1, 1)}
    facts = inspect(weights(shapes), targets=["conv"])
    assert not facts.composable
    assert "convolution" in facts.refusal


def test_factors_in_whole_numbers():
    facts = inspect(weights(lora(), "I8", 1))
    assert (facts.dtype, facts.composable) == ("int8", False)
    assert "not stored as" in facts.refusal


def test_rank_other_than_the_config_says():
    assert "has rank 4, and the config says 8" in mismatch(SOUND, rank=8)


def test_one_module_of_another_rank():
    assert "v_proj has rank 2, and the config says 4" in mismatch(weights(lora() | pair("model.layers.1.self_attn.v_proj", 2)))


def test_factors_of_different_rank():
    shapes = lora() | {"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": (5, 3)}
    assert "lora_A of model.layers.0.self_attn.q_proj has rank 4, its lora_B has rank 3" in mismatch(weights(shapes))


@pytest.mark.parametrize(("drop", "rest"), [("lora_A", "lora_B"), ("lora_B", "lora_A")])
def test_half_a_pair(drop, rest):
    shapes = lora()
    del shapes[f"base_model.model.model.layers.0.self_attn.q_proj.{drop}.weight"]
    assert f"has a {rest} but no {drop}" in mismatch(weights(shapes))


@pytest.mark.parametrize("shape", [(4,), (4, 0), (0, 6), (4, 6, 1), ()])
def test_factors_that_are_no_matrices(shape):
    assert "gather" in mismatch(weights(lora() | {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": shape}))


def test_no_tensors():
    assert "no tensors" in mismatch(raw_weights.write({}))
    assert "no tensors" in mismatch(raw_weights.write({"__metadata__": {"format": "pt"}}), config={"peft_type": "LOHA"})


def test_lora_config_beside_other_weights():
    assert "no tensor is named" in mismatch(weights({"base_model.model.layers.0.q_proj.hada_w1_a": (4, 4)}))


@pytest.mark.parametrize("targets", [("q_proj", "v_proj", "k_proj"), ("q_proj", "v_proj", "proj"), ("q_proj", "v_proj", "layers.2.self_attn.q_proj")])
def test_targets_without_weights(targets):
    assert "no weights are there" in mismatch(SOUND, targets=targets)


@pytest.mark.parametrize("targets", [("q_proj",), ("k_proj",), (), ("proj",), ("model.layers.0.self_attn.q_proj",)])
def test_weights_that_no_target_names(targets):
    assert "target_modules does not name it" in mismatch(SOUND, targets=targets)


@pytest.mark.parametrize("targets", [("q_proj", "self_attn.v_proj"), tuple(f"model.layers.{layer}.self_attn.{name}" for layer in (0, 1) for name in BOTH)])
def test_targets_by_longer_names(targets):
    facts = inspect(SOUND, targets=targets)
    assert (facts.target_modules, facts.composable) == (["q_proj", "v_proj"], True)


def test_weights_of_an_excluded_module():
    assert "exclude_modules names it" in mismatch(SOUND, exclude_modules=["layers.1.self_attn.q_proj"])
    assert inspect(SOUND, exclude_modules=["lm_head"]).composable


@pytest.mark.parametrize("more", [{"layers_to_transform": [0, 1]}, {"layers_to_transform": [0, 1], "layers_pattern": "layers"}, {"layers_to_transform": []}])
def test_layers_to_transform(more):
    assert inspect(SOUND, **more).composable


@pytest.mark.parametrize("more", [{"layers_to_transform": 0}, {"layers_to_transform": [1]}, {"layers_to_transform": [0, 1], "layers_pattern": ["h"]}])
def test_weights_outside_the_layers_to_transform(more):
    assert "layers_to_transform leaves out" in mismatch(SOUND, **more)


@pytest.mark.parametrize(
    "key", ["v_proj", "self_attn.v_proj", "^model.layers.1.self_attn.v_proj", r"layers\.1\.self_attn\.v_proj$", "model.layers...self_attn.v_proj"]
)
def test_rank_and_alpha_patterns(key):
    shapes = lora()
    for layer in (0, 1):
        if layer == 1 or "1" not in key:
            shapes |= pair(f"model.layers.{layer}.self_attn.v_proj", 2)
    facts = inspect(weights(shapes), rank_pattern={key: 2}, alpha_pattern={key: 32})
    assert (facts.rank_pattern, facts.alpha_pattern, facts.composable) == ({key: 2}, {key: 32.0}, True)
    assert "the config says 2" in mismatch(SOUND, rank_pattern={key: 2})


def test_rank_pattern_that_matches_nothing():
    assert inspect(SOUND, rank_pattern={"layers.7.self_attn.q_proj": 2, "oj": 3}).composable


def test_first_of_two_matching_patterns_decides():
    assert inspect(SOUND, rank_pattern={"q_proj": 4, "self_attn.q_proj": 2}).composable
    assert "the config says 2" in mismatch(SOUND, rank_pattern={"self_attn.q_proj": 2, "q_proj": 4})


def test_regular_expression_for_ranks_allows_the_ranks_it_mentions():
    assert not inspect(weights(lora() | pair("model.layers.1.self_attn.v_proj", 2)), rank_pattern={r".*1.*v_proj": 2}).composable
    assert "has rank 3, and the config says 2 or 4" in mismatch(weights(lora() | pair("model.layers.1.self_attn.v_proj", 3)), rank_pattern={r".*1.*v_proj": 2})


NAMES = st.lists(st.sampled_from(["a", "b", "ab", "0", "1", "q_proj", "q-proj"]), min_size=1, max_size=4).map(".".join)
KEYS = st.lists(st.sampled_from(["a", "b", "ab", "0", ".", "..", r"\.", "q_proj", "^", "$", "_", "q"]), min_size=1, max_size=5).map("".join)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(KEYS, max_size=4, unique=True), NAMES)
@example(["^q_proj", "q_proj"], "a.q_proj")
@example(["^a", r"0\.a", "0.a"], "0_a")
@example(["a.", "b"], "a.ab")
def test_plain_patterns_mean_what_they_mean_to_peft(keys, name):
    """PEFT runs each key as a regular expression, in order; for plain keys the outcome must be the same."""
    plain = [key for key in keys if Patterns.cover([key])]
    expected = next((key for key in plain if re.match(rf"(.*\.)?({key})$", name)), None)
    assert Patterns(plain).key_for(name) == expected


@pytest.mark.parametrize("key", ["", "a*", "a+", "(a|b)", "[ab]", r"\d", "a?", "a{2}", "a b", "a^b", "a$b", "\\", "a\n"])
def test_patterns_that_are_not_plain(key):
    assert not Patterns.cover([key])


def test_shapes_of_variants_are_not_held_against_the_config():
    shapes = {"base_model.model.layers.0.mlp.experts.lora_A.weight": (32, 6), "base_model.model.layers.0.mlp.experts.base_layer.lora_A.weight": (32, 6)}
    facts = inspect(weights(shapes), targets=[], target_parameters=["mlp.experts.gate_up_proj"])
    assert not facts.composable


def test_twenty_megabytes_are_read_by_their_header():
    shapes = {}
    for layer in range(30):
        for target in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes |= pair(f"model.layers.{layer}.self_attn.{target}", 16, 2700, 2700)
    content = weights(shapes, "BF16", 2)
    assert len(content) > 20_000_000
    start = time.perf_counter()
    facts = inspect(content, rank=16, targets=["q_proj", "k_proj", "v_proj", "o_proj"])
    assert time.perf_counter() - start < 20
    assert facts.composable
