"""`ni up` as a real process, for tests."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

START_S = 240.0
STOP_S = 40.0
MARK = "NI_TEST_MARK"


def environment(**changes: str) -> dict[str, str]:
    """Return this process' variables without settings, with a mark to find children by."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NI_")}
    return {**kept, "OMP_NUM_THREADS": "1", MARK: uuid.uuid4().hex, **changes}


class Stack:
    """One `ni up`; its output is collected in a thread."""

    def __init__(self, data: Path, *arguments: str, **variables: str) -> None:
        self.data = data
        self.environment = environment(**variables)
        command = [sys.executable, "-m", "service.cli", "up", "--data-dir", str(data), *arguments]
        self.process = subprocess.Popen(
            command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        """What it printed so far."""
        return "\n".join(self.lines)

    def wait_for(self, text: str, timeout_s: float = START_S) -> None:
        """Return once it has printed something."""
        deadline = time.monotonic() + timeout_s
        while text not in self.output:
            assert self.process.poll() is None, f"ended too early:\n{self.output}"
            assert time.monotonic() < deadline, f"did not print {text!r}:\n{self.output}"
            time.sleep(0.05)

    def wait_ready(self) -> "Stack":
        """Return once it serves."""
        self.wait_for("Ctrl-C stops everything.")
        return self

    @property
    def address(self) -> str:
        """Where it serves."""
        match = re.search(r"Serving at (\S+)", self.output)
        assert match, self.output
        return match[1]

    def processes(self) -> dict[int, str]:
        """Command lines of it and its children, by process id."""
        mark = f"{MARK}={self.environment[MARK]}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                marked = mark in (folder / "environ").read_bytes().split(b"\0")
                redis = "redis-server" in words and str(self.data) in words
                if words and (marked or redis):  # redis overwrites its environment
                    found[int(folder.name)] = words
            except (OSError, ValueError):
                continue
        return found

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal, and return the exit code once everything has ended."""
        self.process.send_signal(number)
        code = self.process.wait(STOP_S)
        self._reader.join(STOP_S)
        return code

    def end(self) -> None:
        """End what a failed test left."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(STOP_S)
        self._reader.join(STOP_S)
