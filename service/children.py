"""Child processes that never outlive their parent."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

PR_SET_PDEATHSIG = 1
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
STEADY_AFTER_S = 60.0


def die_with_parent() -> Callable[[], None] | None:
    """Return the hook that lets Linux kill a child whose parent was killed.

    Everywhere else a supervisor that is itself killed with SIGKILL leaves its children behind.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def hook() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the call above
            os._exit(1)

    return hook


@dataclass
class Child:
    """One command that is kept running: started again, after a growing pause, when it ends.

    It gets a session of its own, so that a Ctrl-C in the terminal reaches only the parent,
    which then stops its children in order.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    inherited_descriptors: Sequence[int] = ()
    first_delay_s: float = FIRST_DELAY_S
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _started_at: float = field(default=0.0, init=False)
    _delay_s: float = field(default=0.0, init=False)
    _restart_at: float | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the command."""
        self.process = subprocess.Popen(
            self.command,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            pass_fds=self.inherited_descriptors,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        self._started_at = time.monotonic()
        self._restart_at = None

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.poll() if self.process is not None else None

    def keep_running(self) -> str | None:
        """Start the command again when its pause is over; return what happened, if anything."""
        if self.exit_code is None:
            return None
        now = time.monotonic()
        if self._restart_at is None:
            steady = now - self._started_at > STEADY_AFTER_S
            grown = self.first_delay_s if steady else self._delay_s * 2
            self._delay_s = min(max(grown, self.first_delay_s), LONGEST_DELAY_S)
            self._restart_at = now + self._delay_s
            return f"{self.name} {describe_exit(self.exit_code)}, next start in {self._delay_s:g} s"
        if now >= self._restart_at:
            self.start()
            return f"{self.name} started again"
        return None

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the process and to whatever it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)


def describe_exit(code: int | None) -> str:
    """Say in words how a process ended."""
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def stop_all(children: Sequence[Child], grace_s: float, hurry: Callable[[], bool]) -> None:
    """Ask the children to stop, and kill what is left after the grace or when in a hurry."""
    for child in children:
        if child.exit_code is None:
            child.signal_group(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and not hurry():
        if all(child.process is None or child.exit_code is not None for child in children):
            break
        time.sleep(0.05)
    for child in children:
        child.signal_group(signal.SIGKILL)
        if child.process is not None:
            child.process.wait()
