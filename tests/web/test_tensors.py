"""The page that shows what is inside a safetensors file."""

import json

import numpy as np
import pytest
from django.test import Client

from hub.models import Adapter, User
from hub.services import adapters
from tests import make
from tests.conftest import Upload, commit
from tests.services.stage import measured
from tests.web.conftest import page, text

FILE = "adapter_model.safetensors"
PAGE = f"/owner/sums/tensors/{FILE}"


def packed(tensors: dict[str, tuple[str, list[int], bytes]], **metadata: str) -> bytes:
    """A safetensors file."""
    rows, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        rows[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    header = json.dumps({"__metadata__": metadata, **rows} if metadata else rows).encode()
    return len(header).to_bytes(8, "little") + header + data


def bfloat(values: list[float]) -> bytes:
    return (np.array(values, "<f4").view("<u4") >> 16).astype("<u2").tobytes()


OTHER = {
    "layers.0.odd": ("BF16", [4], bfloat([3.0, -4.0, 0.0, 0.0])),
    "layers.10.even": ("F32", [2, 3], np.arange(6, dtype="<f4").tobytes()),
    "layers.2.big": ("F16", [8, 8], np.full(64, 0.5, "<f2").tobytes()),
    "strange": ("F8_E8M0", [2], b"\x10\x11"),
    "nothing": ("F32", [0], b""),
}


@pytest.fixture
def other(sums: Adapter) -> str:
    """A second file of the adapter, with tensors of many kinds; the address of its page."""
    commit(sums, {"extra.safetensors": packed(OTHER, format="pt", note="<b>made</b> here")})
    return "/owner/sums/tensors/extra.safetensors"


def names(client: Client, address: str) -> list[str]:
    """The tensors that a page lists, in its order."""
    return [row["tensor"].name if isinstance(row, dict) else row.tensor.name for row in client.get(address).context["rows"]]


def test_it_works(anonymous: Client, sums: Adapter) -> None:
    tensor = sums.head.facts["tensors"][0]["name"]
    html = page(anonymous.get("/owner/sums"))
    assert f'href="{PAGE}?revision={sums.head.sha}"' in html
    said = text(anonymous.get(PAGE))
    assert tensor in said and f"{len(sums.head.facts['tensors'])} tensors" in said
    one = text(anonymous.get(f"{PAGE}?tensor={tensor}"))
    assert "standard deviation" in one and "Zeros" in one
    assert 'role="img"' in page(anonymous.get(f"{PAGE}?tensor={tensor}"))


def test_sort_and_filter(anonymous: Client, other: str) -> None:
    assert names(anonymous, other) == list(OTHER)
    assert names(anonymous, f"{other}?sort=size")[:2] == ["layers.2.big", "layers.10.even"]
    assert names(anonymous, f"{other}?sort=norm")[:2] == ["layers.10.even", "layers.0.odd"]
    assert names(anonymous, f"{other}?sort=layer")[:3] == ["layers.0.odd", "layers.2.big", "layers.10.even"]
    assert names(anonymous, f"{other}?sort=nonsense") == list(OTHER)
    assert names(anonymous, f"{other}?dtype=F32") == ["layers.10.even", "nothing"]
    assert names(anonymous, f"{other}?layer=0") == ["layers.0.odd"]
    assert names(anonymous, f"{other}?q=LAYERS+b") == ["layers.2.big"]
    assert "No tensor fits" in text(anonymous.get(f"{other}?q=missing"))
    assert names(anonymous, f"{other}?page=2") == []


def test_values(anonymous: Client, other: str) -> None:
    odd = anonymous.get(f"{other}?tensor=layers.0.odd").context
    assert (odd["spread"].norm, odd["spread"].low, odd["spread"].high, odd["spread"].zeros) == (5.0, -4.0, 3.0, 2)
    assert sum(bar.values for bar in odd["bars"]) == 4 and odd["chosen"].norm == 5.0
    for name in ("strange", "nothing"):
        assert "Its values are not shown" in text(anonymous.get(f"{other}?tensor={name}"))
    assert anonymous.get(f"{other}?tensor=missing").status_code == 404


def test_what_the_writer_noted_is_text(anonymous: Client, other: str) -> None:
    html = page(anonymous.get(other))
    assert "&lt;b&gt;made&lt;/b&gt; here" in html and "<b>made</b>" not in html


def test_the_change_of_a_matrix_stands_beside_its_factors(anonymous: Client, sums: Adapter) -> None:
    names = [row["name"] for row in sums.head.facts["tensors"]]
    matrix = names[0].removeprefix("base_model.model.").rpartition(".lora_")[0]
    measured(sums, 1, 0, matrices=[[matrix, 0, "q", 12.5, 1.5, [1.0]]], values=[1.0])
    shown = {row.tensor.name: row.change for row in anonymous.get(PAGE).context["rows"]}
    assert [name for name, change in shown.items() if change == 12.5] == [name for name in shown if matrix in name] != []
    assert "Change" in text(anonymous.get(PAGE))


def test_who_may_look(anonymous: Client, as_stranger: Client, as_owner: Client, owner: User, secret: Adapter, upload: Upload) -> None:
    assert anonymous.get(f"/{secret.repo_id}/tensors/{FILE}").status_code == 404 == as_stranger.get(f"/{secret.repo_id}/tensors/{FILE}").status_code
    assert as_owner.get(f"/{secret.repo_id}/tensors/{FILE}").status_code == 200
    gated = upload(owner, "gated", seed=7, files=make.adapter(seed=7))
    adapters.update(actor=owner, adapter=gated, gated="manual")
    assert anonymous.get(f"/owner/gated/tensors/{FILE}").status_code == 302 and as_stranger.get(f"/owner/gated/tensors/{FILE}").status_code == 403
    assert as_owner.get("/owner/gated/tensors/README.md").status_code == 404 == as_owner.get("/owner/gated/tensors/no.safetensors").status_code
