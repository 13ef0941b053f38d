"""`ni up` with real processes: serves, restarts what dies, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ni_core.bundles import write_tiny_bundle
from service.children import Child, stop_all
from service.private_redis import LONGEST_SOCKET_PATH, StartError, find_redis_server, socket_path
from service.supervisor import address_of, bind, check_exposure
from tests.stack import Stack, environment

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
StartStack = Callable[..., Stack]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle in the place of the embedded one, so that starts are quick."""
    directory = tmp_path_factory.mktemp("models")
    write_tiny_bundle(directory, name="portraits")
    return directory


@pytest.fixture
def start(tmp_path: Path, models: Path) -> Iterator[StartStack]:
    stacks: list[Stack] = []

    def run(*arguments: str, **variables: str) -> Stack:
        data = tmp_path / "data"
        port = [] if "--port" in arguments else ["--port", "0"]
        given = {"NI_MODEL_DIR": str(models), "NI_DEVICE": "cpu", **variables}
        stacks.append(Stack(data, *port, *arguments, **given))
        return stacks[-1]

    yield run
    for stack in stacks:
        stack.end()


def wait_until_none(stack: Stack, seconds: float) -> dict[int, str]:
    deadline = time.monotonic() + seconds
    while (left := stack.processes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@linux_only
def test_the_three_printed_curl_lines_work_and_ctrl_c_leaves_no_process(
    start: StartStack, tmp_path: Path
) -> None:
    stack = start().wait_ready()
    assert len(stack.processes()) == 4  # itself, redis, a worker, the service
    lines = [line for line in stack.lines if "curl" in line]
    assert len(lines) == 3
    script = "\n".join([*lines, "echo; echo latent=$LATENT"])
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    assert '"directions":[{' in done.stdout
    assert done.stdout.splitlines()[-1].removeprefix("latent=")
    assert (tmp_path / "edited.png").read_bytes().startswith(b"\x89PNG")
    assert stack.stop(signal.SIGINT) == 0
    assert not stack.processes()


@linux_only
def test_a_worker_that_dies_is_started_again_and_a_closed_terminal_stops_all(
    start: StartStack,
) -> None:
    stack = start().wait_ready()
    (worker,) = [pid for pid, words in stack.processes().items() if "-m worker" in words]
    os.kill(worker, signal.SIGKILL)
    stack.wait_for("worker 1 was ended by SIGKILL, next start in 1 s")
    stack.wait_for("worker 1 started again")
    assert any("-m worker" in words for words in stack.processes().values())
    assert stack.stop(signal.SIGHUP) == 0
    assert not stack.processes()


@linux_only
def test_children_die_with_a_supervisor_that_is_killed(start: StartStack) -> None:
    stack = start().wait_ready()
    stack.process.kill()
    assert not wait_until_none(stack, 10)


@linux_only
def test_a_stop_signal_during_the_start_is_obeyed(start: StartStack) -> None:
    stack = start()
    while len(stack.processes()) < 3:
        assert stack.process.poll() is None, stack.output
        time.sleep(0.01)
    assert stack.stop(signal.SIGTERM) == 0
    assert not stack.processes()
    assert "Traceback" not in stack.output


def test_a_port_in_use_is_named_before_anything_starts(start: StartStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stack = start("--port", str(port))
        assert stack.process.wait(20) == 1
    assert f"can't listen on 127.0.0.1 port {port}" in stack.output
    assert "--port" in stack.output


def test_other_machines_are_not_let_in_without_keys(start: StartStack) -> None:
    stack = start("--host", "0.0.0.0")
    assert stack.process.wait(20) == 1
    assert "0.0.0.0 can be reached by other machines" in stack.output
    assert "ni key" in stack.output


def test_a_data_directory_serves_one_stack_at_a_time(tmp_path: Path, start: StartStack) -> None:
    from service.private_redis import locked

    with locked(tmp_path / "data"):
        stack = start()
        assert stack.process.wait(20) == 1
    assert "is in use by another `ni up`" in stack.output


def test_a_redis_that_cannot_start_shows_the_end_of_its_log(
    tmp_path: Path, start: StartStack
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "appendonly.aof").write_bytes(b"this is no append-only file")
    stack = start()
    assert stack.process.wait(40) == 1
    assert "Redis does not start" in stack.output
    assert "append only file" in stack.output.lower()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.9.1"])
def test_loopback_needs_no_keys(host: str) -> None:
    check_exposure(host, {})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_every_other_host_needs_keys(host: str) -> None:
    with pytest.raises(StartError, match="NI_API_KEYS"):
        check_exposure(host, {"NI_API_KEYS": " "})
    check_exposure(host, {"NI_API_KEYS": "0" * 64})
    check_exposure(host, {"NI_API_KEYS_FILE": "/etc/keys"})


def test_an_impossible_port_is_named() -> None:
    with pytest.raises(StartError, match="no port 70000"):
        bind("127.0.0.1", 70000)


def test_the_address_of_all_interfaces_is_this_machine() -> None:
    with bind("0.0.0.0", 0) as listener:
        assert address_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_redis_server_on_the_path_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server() == str(server)


def test_a_socket_path_that_is_too_long_moves_to_a_short_folder(tmp_path: Path) -> None:
    long = tmp_path / ("x" * LONGEST_SOCKET_PATH)
    with socket_path(long) as path:
        assert len(os.fsencode(path)) < LONGEST_SOCKET_PATH
    assert not path.parent.exists()


def child(code: str) -> Child:
    command = [sys.executable, "-c", code]
    return Child("child", command, environment(), first_delay_s=0.05)


def test_a_child_that_ignores_the_stop_signal_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    stubborn = child(
        "import pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(60)"
    )
    stubborn.start()
    while not ready.exists():
        time.sleep(0.01)
    stop_all([stubborn], grace_s=0.2, hurry=lambda: False)
    assert stubborn.exit_code == -signal.SIGKILL


def test_a_second_ctrl_c_does_not_wait_for_the_grace() -> None:
    stubborn = child(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    )
    stubborn.start()
    started = time.monotonic()
    stop_all([stubborn], grace_s=50, hurry=lambda: True)
    assert time.monotonic() - started < 25


def test_the_pause_before_a_restart_grows() -> None:
    failing = child("raise SystemExit(3)")
    failing.start()
    news = []
    deadline = time.monotonic() + 30
    while len(news) < 5 and time.monotonic() < deadline:
        if text := failing.keep_running():
            news.append(text)
        time.sleep(0.005)
    stop_all([failing], grace_s=1, hurry=lambda: False)
    assert news == [
        "child ended with exit code 3, next start in 0.05 s",
        "child started again",
        "child ended with exit code 3, next start in 0.1 s",
        "child started again",
        "child ended with exit code 3, next start in 0.2 s",
    ]
