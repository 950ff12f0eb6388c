"""peft and transformers, unmodified, with HF_ENDPOINT set to a hub."""

from typing import Any

import pytest

from tests import make
from tests.hf.conformance import conforms
from tests.hf.site import Site

PEFT, TRANSFORMERS = "peft 0.21", "transformers 5.23"


@pytest.fixture(scope="module")
def found(site: Site) -> Any:
    """What the script of a whole round trip printed."""
    return site.run("client_peft.py", "owner", "operator", site.operator)


@conforms(TRANSFORMERS, "AutoModelForCausalLM: push_to_hub and from_pretrained of a base model", note="base models are pushed by operators, see HOST_MODELS")
def test_a_base_model_can_be_hosted(found: Any, site: Site):
    assert len(found["base"]) == 8
    info = site.http("GET", "/api/models/operator/tiny-base").json()
    assert "model.safetensors" in [s["rfilename"] for s in info["siblings"]] and "peft" not in info["tags"]
    assert info["library_name"] == "transformers" and "llama" in info["tags"] and info["pipeline_tag"] == "text-generation"


@conforms(PEFT, "PeftModel.push_to_hub, PeftModel.from_pretrained")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_round_trip(found: Any, site: Site, dtype: str):
    assert found[f"pulled {dtype}"] == found[f"made {dtype}"] != found["base"] and found[f"same bytes {dtype}"]
    facts = site.http("GET", f"/api/models/owner/lora-{dtype}").json()
    assert facts["safetensors"]["parameters"].keys() == {{"float32": "F32", "bfloat16": "BF16", "float16": "F16"}[dtype]}
    assert "base_model:adapter:operator/tiny-base" in facts["tags"]


@conforms(PEFT, "PeftConfig.from_pretrained, AutoPeftModelForCausalLM, load_adapter, revision=...")
@conforms(TRANSFORMERS, "AutoModelForCausalLM.from_pretrained of an adapter, model.load_adapter")
def test_every_way_to_load(found: Any):
    made = found["made float32"]
    assert found["config"] == "operator/tiny-base"
    for way in ("auto peft", "auto model", "transformers load_adapter", "at a revision"):
        assert found[way] == made, way
    assert found["second adapter"] == found["made bfloat16"]


@conforms(
    TRANSFORMERS, "Trainer(push_to_hub=True), trainer.push_to_hub", note="what it writes for itself stays behind: training_args.bin, optimizer, scheduler, logs"
)
def test_a_trainer_pushes(found: Any):
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        assert name in found["trained here"]
    pushed = found["trained"]
    assert {"README.md", "adapter_config.json", "adapter_model.safetensors", "last-checkpoint/adapter_model.safetensors"} <= set(pushed)
    assert not [path for path in pushed if path.endswith((".bin", ".pt", ".pth"))]


def test_an_adapter_that_is_missing_is_said_to_be(found: Any):
    assert "owner/none" in found["missing"] and "check your internet connection" not in found["missing"].lower()


def test_without_an_endpoint_of_its_own(site: Site):
    """The way for those who do not want every repository to come from here: download by address, load by path."""
    site.upload("by-path", seed=5)
    assert site.run("client_path.py", site.url, "owner/by-path", HF_ENDPOINT="http://127.0.0.1:1")["r"] == make.config()["r"]
