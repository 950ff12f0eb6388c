"""The child process of the demo: started, waited for, stopped, and its end told when it comes too early."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo import server
from demo.terminal import DemoError

# Stands in for `manage.py run`: answers /healthz until SIGTERM, then says that it stopped in order.
SITE = """
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()
def stop(*args):
    print("stopped in order for", os.environ["MEDLEY_DATA"], flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def site(tmp_path, port, monkeypatch):
    monkeypatch.setattr(server, "ROOT", tmp_path)
    monkeypatch.delenv("HOST", raising=False)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    made = server.Site(tmp_path / "data", port, tmp_path / "models")
    yield made
    made.stop()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def program(folder, text):
    (folder / "manage.py").write_text(text)


def test_it_starts_and_stops_in_order(site, tmp_path):
    program(tmp_path, SITE)
    site.check_port()
    site.start()
    site.check()
    with pytest.raises(DemoError, match=r"runs at .* already"):
        site.check_port()
    site.stop()
    assert f"stopped in order for {tmp_path / 'data'}" in site.log.read_text()
    with pytest.raises(DemoError, match=r"exit status 0"):
        site.check()
    site.check_port()


def test_an_early_end_shows_the_log(site, tmp_path):
    program(tmp_path, "raise SystemExit('no such table: hub_user')")
    with pytest.raises(DemoError, match=r"(?s)stopped by itself \(exit status 1\).*no such table: hub_user"):
        site.start()


def test_a_site_that_never_answers_is_told(site, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "START_SECONDS", 1)
    program(tmp_path, "import time\ntime.sleep(60)")
    with pytest.raises(DemoError, match="did not answer"):
        site.start()


def test_a_child_that_is_deaf_is_killed(site, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "STOP_SECONDS", 0.5)
    program(tmp_path, SITE.replace("signal.signal(signal.SIGTERM, stop)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"))
    site.start()
    site.stop()
    with pytest.raises(DemoError, match=f"exit status -{signal.SIGKILL:d}"):
        site.check()


def test_a_port_in_use_by_something_else_is_told(site, port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(DemoError, match=f"Port {port} cannot be used.*PORT={port + 1}"):
            site.check_port()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_driver_stops_the_child(site, tmp_path, number):
    program(tmp_path, SITE)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path), site.url.rpartition(":")[2]], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    assert any("Ctrl-C stops it" in line for line in iter(driver.stdout.readline, ""))
    driver.send_signal(number)
    assert driver.wait(60) == 0
    assert "stopped in order" in site.log.read_text()
    driver.stdout.close()
    time.sleep(0.1)
    site.check_port()


# The driver's own frame around one step that only starts the site.
DRIVER = """
import sys
from pathlib import Path
from demo import run, server
server.ROOT = Path(sys.argv[1])
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what it runs in the background deaf to Ctrl-C
os.environ.update(MEDLEY_DATA=sys.argv[1] + "/data", PORT=sys.argv[2])
def steps(options, site, terminal):
    site.start()
    return run.Account("demo", "secret")
run.demo = steps
sys.exit(run.main([]))
"""
