"""The hashes of the Xet protocol against the reference client's."""

from pathlib import Path

import hf_xet
import pytest

from hub.hf import xet_hashing


@pytest.mark.parametrize("size", [1, 100, 8191])
def test_the_hash_of_a_file_of_one_chunk_is_the_clients(tmp_path: Path, size: int):
    data = bytes(range(256)) * 32
    path = tmp_path / "data.bin"
    path.write_bytes(data[:size])
    (found,) = hf_xet.hash_files([str(path)])
    assert xet_hashing.to_text(xet_hashing.of_file([(xet_hashing.of_chunk(data[:size]), size)])) == found.hash


def test_a_hash_is_written_as_four_little_endian_numbers():
    text = "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918"
    assert xet_hashing.to_text(bytes(range(32))) == text
    assert xet_hashing.from_text(text) == bytes(range(32))


def test_groups_end_at_hashes_divisible_by_four():
    def node(number: int, last: int) -> tuple[bytes, int]:
        return bytes([number]) * 24 + bytes([last]) + bytes(7), 10

    plain = [node(number, 1) for number in range(12)]
    cut = [*plain[:3], node(3, 4), *plain[4:]]
    assert [xet_hashing._group_end(plain, at) for at in (0, 9, 10, 11)] == [9, 12, 12, 12]
    assert [xet_hashing._group_end(cut, at) for at in (0, 1, 2, 4)] == [4, 4, 11, 12]


def test_nothing_has_the_hash_of_zeros():
    assert xet_hashing.of_xorb([]) == xet_hashing.of_file([]) == bytes(32)
