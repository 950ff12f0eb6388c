"""What an adapter's page offers to copy under "Use it" is run as it stands there."""

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import make, tiny
from tests.hf.site import Site

BASE = "snippets/tiny-llama"
_snippet = re.compile(r"<pre[^>]*><code>(.*?)</code></pre>", re.S)


@pytest.fixture(scope="module")
def base(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model, hosted."""
    folder = tiny.llama(tmp_path_factory.mktemp("base"))
    site.stack.manage("host_base_model", str(folder), "--as", BASE)
    return folder


def snippets(site: Site, name: str, session: str = "") -> dict[str, str]:
    """The pieces of code on an adapter's page, by what stands in them, as a person copies them."""
    page = site.http("GET", f"/owner/{name}", token="", headers={"Cookie": f"sessionid={session}"} if session else {}).text
    found = [html.unescape(re.sub(r"<[^>]+>", "", code)) for code in _snippet.findall(page)]
    marks = {"hf": "hf download", "curl": "curl -fL", "peft": "PeftModel.from_pretrained", "transformers": "model.load_adapter"}
    return {kind: next(code for code in found if mark in code) for kind, mark in marks.items()}


def run(command: list[str], folder: Path, **environment: str) -> str:
    """Run it as a person would in a fresh shell, with the commands of this environment at hand."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "DJANGO_", "HUGGING"))}
    env |= {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}", "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env={**env, **environment}, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def same_files(folder: Path, files: dict[str, bytes]) -> bool:
    return all((folder / path).read_bytes() == data for path, data in files.items())


@pytest.mark.parametrize("kind", ["hf", "curl"])
def test_downloading(site: Site, base: Path, kind: str, tmp_path: Path) -> None:
    name = f"snippets-{kind}"
    site.upload(name, base=BASE, seed=7)
    run(["bash", "-euc", snippets(site, name)[kind]], tmp_path)
    assert same_files(tmp_path / name, make.adapter(base=BASE, seed=7))


@pytest.mark.parametrize("kind", ["hf", "curl"])
def test_downloading_a_private_one(site: Site, base: Path, kind: str, tmp_path: Path) -> None:
    name = f"snippets-private-{kind}"
    site.upload(name, base=BASE, seed=8, private=True)
    login = (
        "from django.test import Client\nbrowser = Client()\nbrowser.force_login(User.objects.get(username='owner'))\nprint(browser.cookies['sessionid'].value)"
    )
    session = site.shell(login).splitlines()[-1]
    code = snippets(site, name, session)[kind]
    assert "$TOKEN" in code
    run(["bash", "-euc", code], tmp_path, TOKEN=site.reader)
    assert same_files(tmp_path / name, make.adapter(base=BASE, seed=8))


def test_loading(site: Site, base: Path, tmp_path: Path) -> None:
    site.upload("snippets-load", base=BASE, seed=9)
    found = snippets(site, "snippets-load")
    run(["bash", "-euc", found["hf"]], tmp_path)
    code = "\nimport torch\nwith torch.no_grad():\n    print(model(torch.arange(10)[None]).logits[0, -1, :4].tolist())\n"
    printed = [run([sys.executable, "-c", found[kind] + code], tmp_path, HF_ENDPOINT=site.url).splitlines()[-1] for kind in ("peft", "transformers")]
    alone = run(
        [sys.executable, "-c", f"from transformers import AutoModelForCausalLM\nmodel = AutoModelForCausalLM.from_pretrained({str(base)!r})\n{code}"], tmp_path
    ).splitlines()[-1]
    assert printed[0] == printed[1] != alone
