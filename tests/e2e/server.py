"""A spawned `strongroom dev`: start, the environment it prints, its command line, stop."""

import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ACCOUNT = "000000000000"
REGION = "us-east-1"
START_SECONDS = 60
STOP_SECONDS = 15
CLI_SECONDS = 60


def binary():
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    path = Path(os.environ.get("STRONGROOM_BIN", target / "debug" / "strongroom")).resolve()
    assert path.is_file(), f"{path} is not there; build it with: cargo build"
    return path


def exports(text):
    """The `export NAME=value` lines of a text, as a dictionary."""
    return {name: shlex.split(value)[0] for name, value in re.findall(r"^export (\w+)=(.+)$", text, re.MULTILINE)}


def bare_environment(directory):
    """As little of the caller's environment as programs need; nothing of its AWS or Strongroom settings."""
    python_bin = str(Path(sys.executable).parent)
    return {"PATH": f"{python_bin}:/usr/local/bin:/usr/bin:/bin", "HOME": str(directory), "LANG": "C.UTF-8"}


class Server:
    def __init__(self, directory, *options, **environment):
        self.directory = Path(directory)
        self.data = self.directory / "data"
        self.log = self.directory / "stderr.log"
        self.options = options
        self.own_environment = {**bare_environment(directory), **environment}
        self.process = None

    def start(self):
        command = [binary(), "dev", "--data", self.data, "--listen", "127.0.0.1:0", *self.options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env=self.own_environment, text=True
            )
        self.greeting = self._read_until_ready()
        self.environment = exports(self.greeting)
        self.endpoint = self.environment["AWS_ENDPOINT_URL_KMS"]
        return self

    def _read_until_ready(self):
        lines, arriving = [], queue.Queue()

        def read(pipe):
            for line in pipe:
                arriving.put(line)
            arriving.put(None)

        threading.Thread(target=read, args=[self.process.stdout], daemon=True).start()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                line = arriving.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                self.kill()
                raise AssertionError(f"no ready line; stdout: {lines}\nstderr: {self.stderr()[-4000:]}")
            lines.append(line)
            if line.removeprefix("# ").startswith("strongroom is ready on "):
                return "".join(lines)

    def stop(self):
        """Asks politely, as systemd does; whoever does not go within the time is killed, and that is a failure."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                return self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError("the server did not stop within its time") from None
        return self.process.returncode

    def kill(self):
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def stderr(self):
        return self.log.read_text(errors="replace")

    def cli(self, *arguments):
        """Runs `strongroom ARGUMENTS --data DIR` beside the running server, and gives what it printed."""
        done = subprocess.run(
            [binary(), *arguments, "--data", self.data],
            env=bare_environment(self.directory),
            capture_output=True,
            text=True,
            timeout=CLI_SECONDS,
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout
