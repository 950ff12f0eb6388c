"""Hostile adapter_config.json: each attack is refused by name, and no pattern of a stranger is run."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.errors import HubError
from tests import make
from tests.raw_weights import inspect, lora, refusal, weights

SOUND = weights(lora())


def test_a_sound_config_passes():
    assert inspect(SOUND).composable


NO_CONFIGS = {
    "empty": b"",
    "cut off": b'{"peft_type": "LORA"',
    "list": b"[]",
    "null": b"null",
    "binary": b"\xff",
    "key twice": b'{"peft_type": "LORA", "peft_type": "LOHA"}',
    "NaN": b'{"peft_type": "LORA", "r": NaN}',
    "infinite": b'{"peft_type": "LORA", "lora_alpha": 1e999}',
    "no type": b'{"r": 8}',
    "type of the wrong kind": b'{"peft_type": 5}',
    "markup for a type": b'{"peft_type": "<b>"}',
    "nesting bomb": b'{"peft_type": "LORA", "x": ' + b"[" * 200_000 + b"}",
    "deep nesting": b'{"peft_type": "LORA", "x": ' + b"[" * 50 + b"]" * 50 + b"}",
    "long number": b'{"peft_type": "LORA", "r": ' + b"1" * 500_000 + b"}",
    "too large": b'{"peft_type": "LORA", "x": "' + b"x" * 1_000_000 + b'"}',
}


@pytest.mark.parametrize("text", NO_CONFIGS.values(), ids=NO_CONFIGS.keys())
def test_configs_that_are_no_config(text):
    assert refusal(SOUND, text).code == "config-invalid"


@pytest.mark.parametrize(
    "stated",
    [
        *({"r": value} for value in (0, -1, True, 8.0, "8", None, 10**9)),
        *({"lora_alpha": value} for value in (None, "16", True, 1e300, [])),
        *({"rank_pattern": value} for value in ("x", {"q_proj": 0}, {"q_proj": True}, {"q_proj": "4"}, {"": 4}, {"\u202e": 4})),
        *({"alpha_pattern": value} for value in ({"q_proj": None}, {"q_proj": [1]}, "x", 5)),
        *({"target_modules": value} for value in (5, [5], [["q_proj"]], {"q_proj": 1}, ["q\nproj"], ["\ud800"])),
        *({"base_model_name_or_path": value} for value in (5, "a" * 501, "a\0b", "\ud800", ["a/b"])),
        *({"use_rslora": "true"}, {"use_dora": 1}, {"task_type": ["CAUSAL_LM"]}, {"layers_to_transform": "0"}, {"layers_pattern": {"a": 1}}),
    ],
)
def test_configs_with_a_setting_of_the_wrong_kind(stated):
    assert refusal(SOUND, **stated).code == "config-invalid"


EVIL = r"(([a-z_.0-9]+)+)+!"


@pytest.mark.parametrize("stated", [{"rank_pattern": {EVIL: 4}}, {"alpha_pattern": {EVIL: 4}}, {"target_modules": EVIL}, {"exclude_modules": EVIL}])
def test_regular_expressions_that_take_forever_are_never_run(stated):
    start = time.perf_counter()
    facts = inspect(SOUND, **stated)
    assert time.perf_counter() - start < 20
    assert facts.composable is ("target_modules" in stated)


def test_layers_pattern_that_takes_forever_is_never_run():
    start = time.perf_counter()
    error = refusal(SOUND, layers_to_transform=[0], layers_pattern=EVIL)
    assert time.perf_counter() - start < 20
    assert error.code == "config-mismatch"


def test_very_many_patterns():
    patterns = {f"{'a' * (number % 90 + 1)}.b{'c' * (number // 90)}": 4 for number in range(5000)}
    assert refusal(SOUND, rank_pattern=patterns).code == "config-invalid"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["LORA", "q_proj", "CAUSAL_LM", "a/b"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.sampled_from(["q_proj", "^a.b$"]), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from(sorted([*make.config(), "layers_to_transform", "layers_pattern", "exclude_modules", "modules_to_save", "init_lora_weights", "other"])),
)
def test_any_value_of_any_setting_is_read_or_refused(value, key):
    try:
        facts = inspect(SOUND, **{key: value})
    except HubError as error:
        assert error.code in {"config-invalid", "config-mismatch"}
        assert error.message.isprintable()
    else:
        assert facts.composable is not bool(facts.refusal)
