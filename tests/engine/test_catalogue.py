"""The catalogue describes exactly the methods there are, and its check fills in and refuses settings."""

import json
import math
import subprocess
import sys
from dataclasses import asdict

import pytest

from compose_worker.engine import catalogue
from compose_worker.engine.errors import ComposeError


def test_the_catalogue_and_the_code_have_the_same_methods():
    from compose_worker.engine.methods import METHODS

    assert [m.name for m in catalogue.METHODS] == list(METHODS)


def test_it_loads_without_torch():
    code = "import sys; from compose_worker.engine import spec, catalogue, errors; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_is_plain_data():
    json.dumps([asdict(m) for m in catalogue.METHODS])
    assert catalogue.DEFAULT_METHOD == "medley"


@pytest.mark.parametrize("method", [m.name for m in catalogue.METHODS])
def test_defaults_are_filled_in_and_pass(method):
    settings = catalogue.check(method, {})
    assert set(settings) == {s.name for s in catalogue.method(method).settings}
    assert catalogue.check(method, settings) == settings
    for setting in catalogue.method(method).settings:
        assert setting.title and setting.help.endswith(".")
        for edge in (setting.minimum, setting.maximum):
            if setting.kind == "weights":
                assert catalogue.check(method, {setting.name: {"acme/one": edge}})[setting.name] == {"acme/one": edge}
            elif edge is not None:
                assert catalogue.check(method, {setting.name: edge})[setting.name] == edge


@pytest.mark.parametrize(
    ("method", "chosen", "code"),
    [
        ("alchemy", {}, "unknown-method"),
        ("medley", {"bound": 1.0}, "unknown-setting"),
        ("medley", {"budget": 0}, "setting-out-of-range"),
        ("medley", {"budget": 1001}, "setting-out-of-range"),
        ("medley", {"budget": 2.5}, "setting-invalid"),
        ("medley", {"budget": "40"}, "setting-invalid"),
        ("medley", {"budget": True}, "setting-invalid"),
        ("medley", {"budget": None}, "setting-invalid"),
        ("cma", {"bound": math.nan}, "setting-invalid"),
        ("cma", {"bound": math.inf}, "setting-invalid"),
        ("cma", {"bound": 0}, "setting-out-of-range"),
        ("lorahub", {"l1": -0.1}, "setting-out-of-range"),
        ("select", {"dtype": "int4"}, "setting-invalid"),
        ("select", {"by_use": 1}, "setting-invalid"),
        ("linear", {"shortlist": 3}, "unknown-setting"),
        ("linear", {"weights": [0.5]}, "setting-invalid"),
        ("linear", {"weights": "acme/one"}, "setting-invalid"),
        ("linear", {"weights": {"acme/one": "0.5"}}, "setting-invalid"),
        ("linear", {"weights": {"acme/one": True}}, "setting-invalid"),
        ("linear", {"weights": {"acme/one": math.nan}}, "setting-invalid"),
        ("linear", {"weights": {"acme/one": 11}}, "setting-out-of-range"),
        ("linear", {"weights": {f"acme/{n}": 1 for n in range(51)}}, "setting-invalid"),
        ("ties", {"density": 0}, "setting-out-of-range"),
        ("ties", {"sign": "loudest"}, "setting-invalid"),
        ("select", {"dtype": ["bfloat16"]}, "setting-invalid"),
    ],
)
def test_what_it_refuses(method, chosen, code):
    with pytest.raises(ComposeError) as caught:
        catalogue.check(method, chosen)
    assert caught.value.code == code
    assert caught.value.message.endswith(".")


def test_all_problems_of_a_method():
    found = catalogue.problems("medley", {"budget": 0, "dtype": "int4", "shortlist": 3})
    assert list(found) == ["budget", "dtype"] and "between 1 and 1,000" in found["budget"]
    for method in catalogue.METHODS:
        assert catalogue.problems(method.name, {}) == {}


def test_whole_numbers_may_come_as_floats():
    settings = catalogue.check("medley", {"budget": 20.0})
    assert settings["budget"] == 20 and isinstance(settings["budget"], int)


def test_weights_name_adapters_that_take_part():
    catalogue.check_weights({"weights": {"acme/one": 0.5}}, ["acme/one", "acme/two"])
    catalogue.check_weights({}, [])
    with pytest.raises(ComposeError) as caught:
        catalogue.check_weights({"weights": {"acme/three": 0.5}}, ["acme/one"])
    assert caught.value.code == "setting-invalid" and "acme/three" in caught.value.message


def test_given_weights_need_no_examples_and_what_learns_does():
    assert [m.name for m in catalogue.METHODS if not m.needs_examples] == ["linear", "ties", "dare_ties", "dare_linear", "magnitude_prune"]
    for method in catalogue.METHODS:
        assert method.needs_examples == (catalogue.SHORTLIST in method.settings) != any(s.kind == "weights" for s in method.settings)
