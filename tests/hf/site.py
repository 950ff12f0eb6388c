"""A hub under gunicorn for the clients of this folder: its own data, its own database, three accounts; the operator's is one of the staff."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from hub.management.commands.run import SITE
from tests import make
from tests.worker.stack import ROOT, Stack, wait

ACCOUNTS = """
from hub.services import accounts
for name in ("operator", "owner", "stranger"):
    user = accounts.create_user(username=name, email=f"{name}@example.org", password="correct horse battery")
    User.objects.filter(pk=user.pk).update(is_staff=name == "operator")
    for scope in ("write", "read"):
        print(accounts.create_token(actor=user, name=f"{name} {scope}", scope=scope)[1])
"""


class Site:
    """The running site and what a test needs of it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.stack = Stack(folder / "data", LOG_LEVEL="WARNING", THROTTLE_ANON="100000/min", THROTTLE_USER="100000/min", LFS_PART_MB="5", **environment)
        self.stack.folder.mkdir()
        self.url = self.stack.url
        self.stack.manage("migrate")
        self.stack.manage("collectstatic", "--noinput")
        printed = self.shell(ACCOUNTS)
        self.operator, _, self.token, self.reader, self.stranger, _ = printed.splitlines()[-6:]
        self.stack.token = self.token
        command = [*SITE, "--bind", f"127.0.0.1:{self.stack.port}"]
        self.log, self.access_log = folder / "log", folder / "access.log"
        with self.log.open("wb") as log:
            more = ["--access-logfile", str(self.access_log), "--access-logformat", '%(m)s %(U)s %(s)s "%(a)s"']
            self.process = subprocess.Popen([*command, *more], cwd=ROOT, env=self.stack.environment, stdout=log, stderr=log)
        wait(self._answers, 30, self.log.read_text)

    def stop(self) -> None:
        """End the site."""
        self.process.terminate()
        self.process.wait(30)

    def http(self, method: str, path: str, *, token: str | None = None, **more: Any) -> httpx.Response:
        """Send one plain request; the owner's token unless another one, or none as an empty text, is given."""
        token = self.token if token is None else token
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **more.pop("headers", {})}
        return httpx.request(method, self.url + path, headers=headers, timeout=60, **more)

    def upload(self, name: str, **more: Any) -> str:
        """Put a small adapter there by the REST API, and return its sha."""
        private, card = more.pop("private", False), more.pop("card", "")
        self.stack.call("POST", "/adapters", json={"name": name, "private": private})
        return self.upload_again(name, card=card, **more)

    def upload_again(self, name: str, *, card: str = "", **more: Any) -> str:
        """Put a newer revision there, and return its sha."""
        files = [("files", (path, data)) for path, data in make.adapter(card=card, **more).items()]
        return str(self.stack.call("POST", f"/adapters/owner/{name}/commits", files=files, data={"message": "Upload"})["sha"])

    def shell(self, script: str) -> str:
        """Run Python in the site's own environment, with its models at hand."""
        return self.stack.manage("shell", "-v", "0", "-c", f"from hub.models import *\n{script}")

    def requests(self, since: int = 0) -> list[str]:
        """The requests that came, as "METHOD path status", from the one numbered `since`."""
        size = -1
        while size != (size := self.access_log.stat().st_size):  # a line is written after its answer was sent
            time.sleep(0.05)
        return [line.partition(' "')[0] for line in self.access_log.read_text().splitlines()][since:]

    def blob(self, sha256: str) -> Path:
        """Where a blob lies."""
        return self.stack.folder / "blobs" / sha256[:2] / sha256[2:4] / sha256

    def pending(self) -> list[Path]:
        """The files of uploads that are under way."""
        return [path for path in (self.stack.folder / "tmp").rglob("*") if path.is_file()]

    def memory(self) -> int:
        """Megabytes that the largest process has held at most since the peak was last forgotten."""
        status = [Path(f"/proc/{pid}/status").read_text() for pid in self._workers()]
        return max(int(text.partition("VmHWM:")[2].split()[0]) for text in status) // 1000

    def forget_peak(self) -> int:
        """Let the peak begin anew, and return the megabytes that are held now."""
        for pid in self._workers():
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        return self.memory()

    def run(self, script: str, *arguments: str, python: str = sys.executable, token: str | None = None, **environment: str) -> Any:
        """Run a script of this folder in a process of its own with an unmodified client, and return the JSON that it prints last."""
        done = self.start(script, *arguments, python=python, token=token, **environment)
        out, err = done.communicate(timeout=240)
        assert done.returncode == 0, f"{out[-3000:]}\n{err[-6000:]}\n{self.log.read_text()[-3000:]}"
        return json.loads(out.strip().splitlines()[-1])

    def start(self, script: str, *arguments: str, python: str = sys.executable, token: str | None = None, **environment: str) -> "subprocess.Popen[str]":
        """Start a script of this folder with an unmodified client and a fresh cache."""
        home = self.folder / "home"
        env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "DJANGO_", "HUGGING"))}
        env |= {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_TOKEN": self.token if token is None else token, "HF_HUB_DISABLE_TELEMETRY": "1"}
        env |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **environment}
        path = Path(__file__).parent / script
        return subprocess.Popen([python, str(path), *arguments], env=env, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def _workers(self) -> list[str]:
        return Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False
