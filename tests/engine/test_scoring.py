"""Scoring from outside: a finished adapter, the bare base and a mix that was never written."""

import pytest

from compose_worker.engine import scoring
from compose_worker.engine.errors import ComposeError
from tests.engine.test_export import write

WEIGHTS = [0.8, 0.4, 0.0]


def test_a_mix_and_its_file_score_alike(base_paths, load, three, taught, tmp_path):
    modules = three("llama")
    rows = taught(modules, WEIGHTS, 10)
    base = load("endless")
    write(base, modules, WEIGHTS, tmp_path)
    mix = scoring.score_mix(base_paths["endless"], modules, WEIGHTS, rows, device="cpu", dtype="float32")
    file = scoring.score_adapter(base_paths["endless"], str(tmp_path), rows, device="cpu", dtype="float32")
    assert file.loss == pytest.approx(mix.score.loss, rel=1e-5)
    assert (file.accuracy, file.n) == (mix.score.accuracy, 10)
    assert sum(mix.rows.sums) / sum(mix.tokens) == pytest.approx(mix.score.loss)


def test_the_bare_base(base_paths, three, taught):
    rows = taught(three("llama"), WEIGHTS, 10)
    bare = scoring.score_adapter(base_paths["endless"], None, rows, device="cpu", dtype="float32")
    zero = scoring.score_mix(base_paths["endless"], three("llama"), [0.0, 0.0, 0.0], rows, device="cpu", dtype="float32")
    mix = scoring.score_mix(base_paths["endless"], three("llama"), WEIGHTS, rows, device="cpu", dtype="float32")
    assert bare == zero.score
    assert mix.score.loss < bare.loss and mix.score.accuracy > bare.accuracy


def test_lorahub_space_needs_modules_alike(base_paths, three, taught):
    rows = taught(three("llama"), WEIGHTS, 5)
    with pytest.raises(ComposeError) as caught:
        scoring.score_mix(base_paths["endless"], three("llama"), [1.0, 1.0, 1.0], rows, "lorahub", "cpu", "float32")
    assert caught.value.code == "modules-differ"
