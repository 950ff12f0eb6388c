"""Hostile weights: each attack is refused by name, before anything large is allocated."""

import io
import json
import pickle
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hub import adapter_format, safetensors_header
from hub.errors import HubError
from tests import make, raw_weights
from tests.raw_weights import inspect, invalid, lora, refusal, rows, weights, write

SOUND = weights(lora())
NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def one(**changes):
    """A file of one tensor with 4 float32 values, changed."""
    return write({NAME: {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | changes}, bytes(16))


def test_a_sound_file_passes():
    assert inspect(SOUND).composable


def test_pickle_renamed_to_safetensors():
    assert "Python pickle" in invalid(pickle.dumps({"weights": [0.0] * 100}, protocol=4))


def test_torch_zip_renamed_to_safetensors():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("archive/data.pkl", b"x" * 100)
    assert "zip archive" in invalid(archive.getvalue())


def test_program_renamed_to_safetensors():
    assert "a program" in invalid(b"\x7fELF\x02\x01\x01" + bytes(100))


def test_lfs_pointer_instead_of_weights():
    assert "Git LFS pointer" in invalid(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")


@pytest.mark.parametrize("length", [0x5A4D, 0x8B1F])
def test_sound_header_whose_length_looks_like_a_program_or_an_archive(length):
    content = write(json.dumps(rows(lora())).encode().ljust(length), SOUND[8 + int.from_bytes(SOUND[:8], "little") :])
    assert content[:2] in (b"MZ", b"\x1f\x8b")
    assert inspect(content).composable


def test_header_of_640_bytes_is_not_taken_for_a_pickle():
    shapes = raw_weights.pair("model.layers.0.self_attn.q_proj")
    text = json.dumps(rows(shapes)).encode().ljust(640)
    content = write(text, bytes(4 * 44))
    assert content[:2] == b"\x80\x02"
    assert inspect(content, targets=["q_proj"]).composable


@pytest.mark.parametrize("size", [0, 1, 7])
def test_shorter_than_a_header(size):
    assert "shorter" in invalid(SOUND[:size])


@pytest.mark.parametrize("keep", [8, 9, 100, 1000, -1, -300])
def test_truncated_anywhere(keep):
    message = invalid(SOUND[:keep])
    assert "cut off" in message or "only" in message


def test_stream_that_ends_before_its_size():
    class Short(io.BytesIO):
        """Claims its full length, as a file that is cut off while it is read."""

        def read(self, size=-1):
            return super().read(min(size, max(0, len(SOUND) - 50 - self.tell())))

    broken = adapter_format.File("adapter_model.safetensors", len(SOUND), lambda: Short(SOUND))
    config = raw_weights.file("adapter_config.json", json.dumps(make.config()).encode())
    with pytest.raises(HubError) as caught:
        adapter_format.inspect([broken, config])
    assert caught.value.code == "weights-invalid"
    assert "ended inside the tensor" in caught.value.message


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 25_000_001, 2**32])
def test_oversized_header_length_allocates_nothing(length):
    content = struct.pack("<Q", length) + b"{" + bytes(1000)
    tracemalloc.start()
    message = invalid(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "at most 25,000,000" in message
    assert peak < 1_000_000


def test_header_longer_than_the_file():
    assert "cut off" in invalid(struct.pack("<Q", 10_000) + b"{}" + bytes(100))


@pytest.mark.parametrize("text", [b"", b"[]", b"1", b'"x"', b"null", b" {}", b"{", b"{]", b"{'a': 1}", b'{"a": 1,}', b"\xff\xfe{}", b'{"\xff": 1}', b"{}x"])
def test_header_that_is_no_json_object(text):
    assert "header" in invalid(write(text))


def test_header_in_utf16():
    assert "JSON" in invalid(write(json.dumps(rows(lora())).encode("utf-16-le")))


def test_duplicate_tensor_names():
    row = b'"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}'
    assert "appears twice" in invalid(write(b"{" + row + b", " + row + b"}", bytes(1)))


def test_duplicate_keys_inside_a_tensor():
    assert "appears twice" in invalid(write(b'{"a": {"dtype": "U8", "dtype": "I8", "shape": [1], "data_offsets": [0, 1]}}', bytes(1)))


def test_nesting_bomb():
    start = time.perf_counter()
    assert "nested too deeply" in invalid(write(b'{"a": ' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"))
    assert time.perf_counter() - start < 20


def test_moderately_deep_nesting():
    assert "nested too deeply" in invalid(write(b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}"))


def test_number_with_millions_of_digits():
    start = time.perf_counter()
    assert "too many digits" in invalid(write(b'{"a": ' + b"9" * 5_000_000 + b"}"))
    assert time.perf_counter() - start < 20


def test_header_of_very_many_entries_is_refused_unparsed():
    content = write(b'{"a": [' + b"[]," * 2_000_000 + b"[]]}")
    tracemalloc.start()
    message = invalid(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "too many entries" in message
    assert peak < 3 * len(content)


def test_too_many_tensors():
    content = write(b"{" + b",".join(b'"%d": {}' % number for number in range(100_001)) + b"}")
    assert "at most 100,000" in invalid(content)


@pytest.mark.parametrize("metadata", [[], "x", {"a": 1}, {"a": None}, {"a": {}}, {"a": ["b"]}])
def test_metadata_that_is_no_table_of_texts(metadata):
    assert "__metadata__" in invalid(write({"__metadata__": metadata}))


def test_metadata_with_half_a_character():
    assert "Unicode" in invalid(write(b'{"__metadata__": {"a": "\\ud800"}}'))


def test_overlapping_tensors():
    header = {"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}, "b": {"dtype": "U8", "shape": [8], "data_offsets": [4, 12]}}
    assert "overlaps" in invalid(write(header, bytes(12)))


def test_two_names_for_the_same_bytes():
    header = {"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}, "b": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}}
    assert "overlaps" in invalid(write(header, bytes(8)))


def test_gap_between_tensors():
    header = {"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "b": {"dtype": "U8", "shape": [4], "data_offsets": [8, 12]}}
    assert "gap" in invalid(write(header, bytes(12)))


def test_data_that_does_not_begin_at_zero():
    assert "gap" in invalid(one(data_offsets=[4, 20]) + bytes(4))


def test_bytes_hidden_behind_the_last_tensor():
    assert "belong to nothing" in invalid(SOUND + b"PK\x03\x04 a payload")


def test_offsets_beyond_the_data():
    content = write(rows({NAME: (100, 100)}), bytes(16))
    assert "only 16 are there" in invalid(content)


@pytest.mark.parametrize("offsets", [[16, 0], [-16, 0], [0], [0, 16, 32], [0.0, 16.0], ["0", "16"], [False, True], None, {}, [0, 2**64], [0, 10**30]])
def test_offsets_that_are_no_begin_and_end(offsets):
    invalid(one(data_offsets=offsets))


@pytest.mark.parametrize("shape", [[-2, -2], [2.0, 2], [True, 4], ["2", "2"], None, {}, 4, [2**41], [1] * 9, [10**24], [[2], [2]]])
def test_shapes_that_are_no_sizes(shape):
    invalid(one(shape=shape))


def test_shape_times_dtype_is_not_the_length():
    assert "has 16 bytes, but its shape and dtype need 24 bytes" in invalid(one(shape=[2, 3]))


def test_shape_whose_product_overflows_64_bits():
    # 2**40 * 2**24 * 4 is 0 modulo 2**64.
    message = invalid(write({NAME: {"dtype": "F32", "shape": [2**40, 2**24], "data_offsets": [0, 0]}}))
    assert "need far more" in message


def test_half_a_byte_of_data():
    assert "need" in invalid(write({NAME: {"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}}, bytes(1)))


@pytest.mark.parametrize("dtype", ["F33", "f32", "", None, 32, ["F32"], "O", "object", "F32\0"])
def test_unknown_dtype(dtype):
    assert "unknown dtype" in invalid(one(dtype=dtype))


@pytest.mark.parametrize("row", [None, [], "x", {}, {"dtype": "F32"}, {"dtype": "F32", "shape": [], "data_offsets": [0, 4], "code": "x"}])
def test_rows_that_describe_no_tensor(row):
    assert "not described by" in invalid(write({NAME: row}, bytes(4)))


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "caf\u00e9", "a\nb", "a\0b", "<script>", "\u202ea", "a" * 513, "a\\b", "\ud800", "q_proj\u200b.lora_A.weight"]
)
def test_odd_tensor_names(name):
    assert "tensor name" in invalid(write({name: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, bytes(1)))


def test_messages_show_names_without_invisible_characters():
    message = invalid(write({"\u202e\x1b[31m" + "x" * 500: {}}))
    assert message.isprintable()
    assert len(message) < 300


FLOATS = {
    "F16": [b"\x00\x7e", b"\x00\x7c", b"\x00\xfc"],
    "BF16": [b"\xc0\x7f", b"\x80\x7f", b"\x80\xff"],
    "F32": [b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\x00\x00\x80\xff", b"\x01\x00\x80\x7f"],
    "F64": [struct.pack("<d", float("nan")), struct.pack("<d", float("inf")), struct.pack("<d", float("-inf"))],
    "C64": [struct.pack("<ff", 0.0, float("nan"))],
    "F8_E5M2": [b"\x7c", b"\x7f", b"\xfc"],
    "F8_E4M3": [b"\x7f", b"\xff"],
    "F8_E8M0": [b"\xff"],
    "F8_E4M3FNUZ": [b"\x80"],
    "F8_E5M2FNUZ": [b"\x80"],
}


@pytest.mark.parametrize(("dtype", "value"), [(dtype, value) for dtype, values in FLOATS.items() for value in values])
def test_values_that_are_not_finite(dtype, value):
    """The bad value is the last of the second tensor, behind more than one chunk."""
    count = safetensors_header.CHUNK_BYTES // len(value) + 3
    shapes = {"base_model.model.first": (1, 4), "base_model.model.second": (count, 1)}
    header = rows(shapes, dtype, len(value))
    data = bytes((count + 4) * len(value))
    assert inspect(write(header, data), {"peft_type": "LOHA"}).peft_type == "LOHA"
    error = refusal(write(header, data[: -len(value)] + value), {"peft_type": "LOHA"})
    assert error.code == "weights-not-finite"
    assert "base_model.model.second" in error.message


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_largest_finite_values_pass(dtype):
    values = {name: np.full(shape, sign * np.finfo(dtype).max, dtype) for sign, (name, shape) in zip((1, -1) * 4, lora().items(), strict=True)}
    assert inspect(safetensors.numpy.save(values)).composable


def test_nan_in_another_safetensors_file_of_the_revision():
    files = [raw_weights.file("extra/part.safetensors", write(rows({"x": (1,)}), struct.pack("<f", float("nan"))))]
    with pytest.raises(HubError) as caught:
        adapter_format.inspect(files)
    assert caught.value.code == "weights-not-finite"
    assert "extra/part.safetensors" in caught.value.message


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), max_size=12), cut=st.none() | st.integers(0, len(SOUND)))
@example(changes=[(7, 255)], cut=None)
@example(changes=[(0, 0), (1, 0)], cut=None)
def test_mutated_files_are_read_or_refused_within_bounds(changes, cut):
    content = bytearray(SOUND)
    for place, value in changes:
        content[place] = value
    assert_read_or_refused(bytes(content[:cut]))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_mutated_headers_are_read_or_refused_within_bounds(data):
    header = rows(lora(layers=1))
    odd = st.sampled_from([0, 1, 4, 16, -1, 2**31, 2**63, 2**64, 1.5, True, None, "F32", "BF16", "I8", [], {}, [0, 96], [4, 6], "x"])
    for _ in range(data.draw(st.integers(1, 4))):
        row = header.setdefault(data.draw(st.sampled_from([*header, "new", "__metadata__"])), {})
        key = data.draw(st.sampled_from(["dtype", "shape", "data_offsets", "other"]))
        row[key] = data.draw(odd | st.lists(odd, max_size=3))
    assert_read_or_refused(write(header, bytes(data.draw(st.sampled_from([0, 352, 1000])))))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(content):
    assert_read_or_refused(content)
    assert_read_or_refused(write(content))


def assert_read_or_refused(content):
    """Nothing but HubError, little memory, and nothing is accepted that the reference implementation refuses."""
    tracemalloc.start()
    try:
        header = safetensors_header.read(io.BytesIO(content))
        safetensors_header.check_finite(io.BytesIO(content), header)
        inspect(content)
    except HubError as error:
        assert error.code in {"weights-invalid", "weights-not-finite", "config-mismatch"}
        assert error.message.isprintable()
        if error.code == "weights-invalid":
            return
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2_000_000
    safetensors.deserialize(content)


def test_the_largest_headers_stay_within_300_mb():
    """In a process of its own, because the memory a process ever needed never goes down."""
    code = """
import io, resource, struct
from hub import safetensors_header
from hub.errors import HubError
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
size = 24_000_000
deep, many = b'{"a": ' + b'[' * size, b'{"a": [' + b'[],' * 590_000 + b'[]]}'
for text in (deep, many, b'{"__metadata__": {"a": "' + b'x' * size + b'"}}', b'{"a": ' + b'9' * size + b'}'):
    try:
        safetensors_header.read(io.BytesIO(struct.pack('<Q', len(text)) + text))
    except HubError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert int(result.stdout) < 300


def test_reading_needs_no_more_memory_for_larger_weights():
    content = weights({f"{NAME}{number}": (1024, 8192) for number in range(2)})
    tracemalloc.start()
    header = safetensors_header.read(io.BytesIO(content))
    tracemalloc.reset_peak()
    safetensors_header.check_finite(io.BytesIO(content), header)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(content) > 64_000_000
    assert peak < 4 * safetensors_header.CHUNK_BYTES
