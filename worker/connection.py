"""How a process reaches Redis, and what it does while it cannot."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry

T = TypeVar("T")

log = logging.getLogger(__name__)

REDIS_DOWN = (ConnectionError, TimeoutError)
"""What redis-py raises while Redis is stopped, starting (loading) or out of reach."""


def connect(url: str, *, timeout_s: float = 5.0) -> Redis:
    """Make a client; it connects at the first command, and a lost connection is tried once more.

    Every command here may be repeated: scripts that change a job are fenced by a token.
    """
    keepalive = {} if url.startswith("unix:") else {"socket_keepalive": True}
    return Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        health_check_interval=30,
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[ConnectionError],
        protocol=2,
        **keepalive,
    )


def wait_for_redis(
    redis: Redis, stopped: Callable[[], bool], *, first_s: float = 0.2, longest_s: float = 2.0
) -> bool:
    """Wait until Redis answers; return False when `stopped` came true before."""
    pause_s = first_s
    wake = threading.Event()
    while not stopped():
        try:
            redis.ping()
            return True
        except REDIS_DOWN as problem:
            log.warning("Redis does not answer (%s); next try in %.1f s", problem, pause_s)
        wake.wait(pause_s)
        pause_s = min(pause_s * 1.7, longest_s)
    return False


def patiently(call: Callable[[], T], patience_s: Callable[[], float]) -> T:
    """Call until Redis answers; raise what it raises once the patience is over.

    The patience is asked for again at each try: it may run out when a worker has to end.
    """
    started = time.monotonic()
    pause_s = 0.05
    while True:
        try:
            return call()
        except REDIS_DOWN:
            if time.monotonic() - started >= patience_s():
                raise
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.7, 2.0)
