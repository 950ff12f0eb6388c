"""What the people of the load benchmark do, for locust: most of them read, some download, a few upload and compose."""

import base64
import hashlib
import io
import itertools
import json
import os
import random
import time
from pathlib import Path
from typing import Any

from locust import FastHttpUser, between, task
from locust.exception import StopUser

from benchmarks import load_job
from tests import make

PEOPLE: dict[str, Any] = json.loads(Path(os.environ["LOAD_PEOPLE"]).read_text())
WEIGHTS = "adapter_model.safetensors"
JOB_SECONDS = 600
_numbers = itertools.count(1)


class Person(FastHttpUser):
    """Somebody who looks at a page, reads, and goes on; one of `PEOPLE` where a token is needed."""

    abstract = True
    wait_time = between(2, 6)
    connection_timeout = network_timeout = 300.0  # as long as the proxy waits

    def on_start(self) -> None:
        """Become one of the people."""
        self.number = next(_numbers) % len(PEOPLE["tokens"])
        self.name = PEOPLE["names"][self.number]
        self.as_me = {"Authorization": f"Bearer {PEOPLE['tokens'][self.number]}"}
        self.draw = random.Random(self.number)

    def adapter(self) -> dict[str, Any]:
        """One of the adapters, early ones more often."""
        rows: list[dict[str, Any]] = PEOPLE["adapters"]
        return rows[min(len(rows) - 1, int(self.draw.paretovariate(0.5)) - 1)]

    def read(self, path: str, kind: str, **more: Any) -> Any:
        """GET something that must be there."""
        with self.client.get(path, name=kind, catch_response=True, **more) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code} {(answer.text or '')[:200]}")
        return answer

    def send(self, method: str, path: str, kind: str, good: tuple[int, ...] = (200, 201), **more: Any) -> Any:
        """Send something that must be taken."""
        with self.client.request(method, path, name=kind, catch_response=True, headers={**self.as_me, **more.pop("headers", {})}, **more) as answer:
            if answer.status_code not in good:
                answer.failure(f"{answer.status_code} {(answer.text or '')[:200]}")
                raise StopUser
        return answer


class Reader(Person):
    """Browses, searches, and reads pages of adapters, without an account."""

    weight = 60

    @task(3)
    def browse(self) -> None:
        """The list, narrowed by a tag half of the time."""
        query = self.draw.choice(("", f"?tag={self.draw.choice(PEOPLE['tags'])}", "?sort=downloads", f"?base_model={make.BASE}&licence=mit"))
        self.read(f"/adapters{query}", "page: list")

    @task(3)
    def search(self) -> None:
        """A word or two."""
        words = "+".join(self.draw.sample(PEOPLE["words"], self.draw.choice((1, 2))))
        self.read(f"/adapters?q={words}", "page: search")

    @task(4)
    def look(self) -> None:
        """The page of an adapter."""
        self.read(f"/{self.adapter()['id']}", "page: adapter")

    @task(1)
    def home(self) -> None:
        """The front page."""
        self.read("/", "page: home")


class Program(Person):
    """Lists by the REST API and downloads as Hugging Face clients do."""

    weight = 30

    @task(3)
    def rest(self) -> None:
        """A page of the list, and the page after it."""
        answer = self.read("/api/v1/adapters?limit=30&sort=downloads", "REST: list", headers=self.as_me)
        if answer.status_code == 200 and (after := answer.json()["next"]):
            self.read("/" + after.split("/", 3)[3], "REST: list, next page", headers=self.as_me)

    @task(1)
    def models(self) -> None:
        """The list as models."""
        self.read(f"/api/models?search={self.draw.choice(PEOPLE['words'])}&limit=50", "HF: list")

    @task(6)
    def download(self) -> None:
        """HEAD, then GET, and the bytes must be the right ones."""
        wanted = self.adapter()
        path = f"/{wanted['id']}/resolve/main/{WEIGHTS}"
        with self.client.request("HEAD", path, name="HF: HEAD of a file", catch_response=True) as head:
            if head.status_code != 200 or head.headers.get("ETag", "").strip('"') != wanted["sha256"]:
                head.failure(f"{head.status_code} {head.headers.get('ETag')}")
        with self.client.get(path, name="HF: GET of a file", catch_response=True) as answer:
            if answer.status_code != 200 or hashlib.sha256(answer.content or b"").hexdigest() != wanted["sha256"]:
                answer.failure(f"{answer.status_code}, {len(answer.content or b'')} bytes")


class Maker(Person):
    """Uploads tiny adapters, by REST and by LFS."""

    weight = 6

    @task
    def rest(self) -> None:
        """A new adapter and its first commit."""
        name = self._name()
        self.send("POST", "/api/v1/adapters", "REST: create", json={"name": name, "tags": ["load"]})
        body, kind = _form(make.adapter(seed=self.draw.randrange(1 << 30), card="# Made under load\n"))
        self.send("POST", f"/api/v1/adapters/{self.name}/{name}/commits", "REST: commit", data=body, headers={"Content-Type": kind})

    @task
    def lfs(self) -> None:
        """What a Hugging Face client does with a file that goes ahead of its commit."""
        repo = f"{self.name}/{self._name()}"
        self.send("POST", "/api/repos/create", "HF: create", json={"name": repo.split("/")[1], "type": "model"})
        files = make.adapter(seed=self.draw.randrange(1 << 30))
        data = files.pop(WEIGHTS)
        oid = hashlib.sha256(data).hexdigest()
        ask = {"operation": "upload", "transfers": ["basic", "multipart"], "hash_algo": "sha256", "objects": [{"oid": oid, "size": len(data)}]}
        found = self.send("POST", f"/{repo}.git/info/lfs/objects/batch", "HF: LFS batch", json=ask).json()["objects"][0]
        upload = found["actions"]["upload"]["href"]
        self.send("PUT", "/" + upload.split("/", 3)[3], "HF: LFS upload", data=data)
        lines: list[dict[str, Any]] = [{"key": "header", "value": {"summary": "Upload"}}]
        lines += [{"key": "file", "value": {"path": p, "content": base64.b64encode(d).decode(), "encoding": "base64"}} for p, d in files.items()]
        lines.append({"key": "lfsFile", "value": {"path": WEIGHTS, "algo": "sha256", "oid": oid, "size": len(data)}})
        body = "\n".join(map(json.dumps, lines)).encode()
        self.send("POST", f"/api/models/{repo}/commit/main", "HF: commit", data=body, headers={"Content-Type": "application/x-ndjson"})
        self.read(f"/{repo}/resolve/main/{WEIGHTS}", "HF: GET of a file")

    def _name(self) -> str:
        return f"made-{os.getpid()}-{next(_numbers)}-{time.time_ns() % 1_000_000}"


class Composer(Person):
    """Submits a composition and looks at it until it is over."""

    weight = 4

    @task
    def compose(self) -> None:
        """Two modules, a few examples, a short search."""
        modules = [row["id"] for row in self.draw.sample(PEOPLE["adapters"], 2)]
        name, seed = f"mix-{os.getpid()}-{next(_numbers)}", self.draw.randrange(1000)
        body = {"base_model": make.BASE, "modules": modules, "examples": load_job.EXAMPLES, "name": name, "seed": seed}
        body |= {"method": load_job.METHOD, "settings": load_job.SETTINGS}
        number = self.send("POST", "/api/v1/compositions", "REST: submit a composition", good=(202,), json=body).json()["id"]
        end = time.monotonic() + JOB_SECONDS
        while time.monotonic() < end:
            self.wait()
            job = self.read(f"/api/v1/compositions/{number}", "REST: look at a composition", headers=self.as_me)
            if job.status_code != 200 or job.json()["status"] in ("succeeded", "failed", "cancelled"):
                return


def _form(files: dict[str, bytes]) -> tuple[bytes, str]:
    """Return files as a form that browsers and curl send."""
    border, out = "medley-load", io.BytesIO()
    for path, data in files.items():
        out.write(f'--{border}\r\nContent-Disposition: form-data; name="files"; filename="{path}"\r\n\r\n'.encode() + data + b"\r\n")
    out.write(f"--{border}--\r\n".encode())
    return out.getvalue(), f"multipart/form-data; boundary={border}"
