import threading
import time

import pytest

from tests.conftest import wait_until
from worker.alarms import Alarms


def test_a_call_comes_again_and_again_while_the_block_runs() -> None:
    calls: list[str] = []
    alarms = Alarms()
    with alarms.every(0.01, lambda: calls.append(threading.current_thread().name)):
        wait_until(lambda: len(calls) >= 3, "three calls come", 5.0)
    count = len(calls)
    time.sleep(0.05)
    assert len(calls) <= count + 1, "at most the call that was under way comes after the block"
    assert set(calls) == {"alarms"}


def test_a_late_call_comes_once_and_not_after_the_block() -> None:
    calls: list[str] = []
    alarms = Alarms()
    with alarms.after(0.02, lambda: calls.append("too late")):
        pass
    with alarms.after(0.02, lambda: calls.append("hangs")):
        wait_until(lambda: bool(calls), "the call comes", 5.0)
        time.sleep(0.05)
    assert calls == ["hangs"]


def test_the_earliest_of_several_comes_first() -> None:
    calls: list[str] = []
    alarms = Alarms()
    with alarms.after(3600, lambda: calls.append("late")):
        time.sleep(0.02)
        with alarms.after(0.02, lambda: calls.append("early")):
            wait_until(lambda: bool(calls), "the early call comes", 5.0)
    assert calls == ["early"]


def test_a_call_that_fails_ends_no_other(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []
    alarms = Alarms()
    with alarms.every(0.01, lambda: 1 // 0), alarms.every(0.01, lambda: calls.append(1)):
        wait_until(lambda: len(calls) >= 3, "the other goes on", 5.0)
    assert "an alarm's call failed" in caplog.text


def test_all_alarms_share_a_thread() -> None:
    before = threading.active_count()
    alarms = Alarms()
    for _ in range(20):
        with alarms.after(3600, lambda: None), alarms.every(3600, lambda: None):
            assert threading.active_count() == before + 1
