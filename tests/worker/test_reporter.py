import base64
from collections.abc import Callable

import pytest
import torch

from ni_core.bundles import Bundle
from ni_core.images import decode_image
from ni_core.inversion.report import StepReport
from tests.worker.material import claim, request
from worker.connection import connect
from worker.lease import (
    Canceled,
    Checkpoint,
    HandedBack,
    Lease,
    LostLease,
    RedisLost,
    TimeLimitExceeded,
)
from worker.reporter import StepReporter
from worker.settings import Settings
from worker.store import Store


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def step(number: int, *, px: int = 16, steps: int = 1000) -> StepReport:
    latents = torch.full((1, 2, 3), float(number))
    images = torch.zeros(6, 3, px, px)
    return StepReport(number, steps, 0.5, [0.5], latents, 9.0, lambda: images)


@pytest.fixture
def settings(redis_url: str) -> Settings:
    """The intervals of a real service."""
    return Settings(redis_url=redis_url, job_time_limit_s=50.0, redis_patience_s=20.0)


@pytest.fixture
def lease(store: Store, tiny_bundle: Bundle) -> Lease:
    return claim(store, store.create_job(request(store, tiny_bundle)).id)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reporter(lease: Lease, clock: Clock) -> StepReporter:
    return StepReporter(lease, stopping=lambda: False, alive=lambda: None, clock=clock)


def names(store: Store, lease: Lease) -> list[str]:
    return [event.name for event in store.events(lease.job_id)]


def test_the_first_step_shows_at_once(store: Store, lease: Lease, reporter: StepReporter) -> None:
    reporter(step(1))
    assert store.read_job(lease.job_id).progress.step == 1
    assert names(store, lease) == ["progress"]


def test_every_step_shows_in_the_record_and_ten_a_second_in_the_events(
    store: Store, lease: Lease, reporter: StepReporter, clock: Clock
) -> None:
    for number in range(1, 21):
        reporter(step(number))
        assert store.read_job(lease.job_id).progress.step == number
        clock.now += 0.04
    events = [event for event in store.events(lease.job_id) if event.name == "progress"]
    assert 6 <= len(events) <= 9


def test_the_last_step_of_a_job_that_ends_with_it_is_left_for_the_end(
    store: Store, lease: Lease, reporter: StepReporter
) -> None:
    reporter.ends_at_once = True
    reporter(step(1, steps=2))
    assert reporter.untold is None
    reporter(step(2, steps=2))
    assert reporter.untold is not None and reporter.untold.step == 2
    assert store.read_job(lease.job_id).progress.step == 1


@pytest.mark.parametrize("step_s", [0.0, 0.03])
def test_the_last_step_always_shows_and_is_an_event(
    store: Store, lease: Lease, reporter: StepReporter, clock: Clock, step_s: float
) -> None:
    for number in (1, 2, 3):
        reporter(step(number, steps=3))
        clock.now += step_s
    assert store.read_job(lease.job_id).progress.step == 3
    assert [event.data["step"] for event in store.events(lease.job_id)] == [1, 3]


def test_previews_come_each_second_as_small_pictures(
    store: Store, lease: Lease, reporter: StepReporter, clock: Clock
) -> None:
    for number in range(1, 9):
        clock.now += 0.5
        reporter(step(number, px=512))
    previews = [event for event in store.events(lease.job_id) if event.name == "preview"]
    assert len(previews) == 4
    data = previews[0].data
    assert data["media_type"] == "image/webp"
    images = data["images"]
    assert isinstance(images, list) and len(images) == 4
    assert decode_image(base64.b64decode(str(images[0]))).shape == (3, 256, 256)


def test_latents_are_saved_every_two_seconds(
    lease: Lease, reporter: StepReporter, clock: Clock
) -> None:
    reporter.resume(Checkpoint(5, 7.0, torch.zeros(1, 2, 3)))
    clock.now += 1.0
    reporter(step(6))
    assert lease.checkpoint() is None
    clock.now += 1.1
    reporter(step(7))
    saved = lease.checkpoint()
    assert saved is not None
    assert (saved.step, float(saved.latents[0, 0, 0])) == (7, 7.0)
    assert saved.seconds == pytest.approx(7.0 + 2.1)


def test_a_cancel_ends_the_descent_at_the_next_step(
    store: Store, lease: Lease, reporter: StepReporter, clock: Clock
) -> None:
    reporter(step(1))
    store.request_cancel(lease.job_id)
    clock.now += 0.03
    with pytest.raises(Canceled):
        reporter(step(2))


def test_a_lost_job_ends_the_descent_at_the_next_step(
    store: Store, lease: Lease, reporter: StepReporter
) -> None:
    store.redis.delete(store.key("job", lease.job_id))
    with pytest.raises(LostLease):
        reporter(step(1))


def test_the_time_limit_holds_even_where_exceptions_are_swallowed(
    reporter: StepReporter, clock: Clock
) -> None:
    clock.now += 50.1

    def careless(callback: Callable[[StepReport], None]) -> None:
        try:
            callback(step(1))
        except Exception:
            pytest.fail("a broad except swallowed the time limit")

    with pytest.raises(TimeLimitExceeded):
        careless(reporter)


def test_a_worker_that_has_to_end_stops_at_the_next_step(lease: Lease) -> None:
    asked = [False]
    reporter = StepReporter(lease, stopping=lambda: asked[0], alive=lambda: None)
    reporter(step(1))
    asked[0] = True
    with pytest.raises(HandedBack):
        reporter(step(2))
    assert reporter.last is not None and reporter.last.step == 2


def test_a_descent_goes_on_without_redis_until_the_patience_is_over(
    tiny_bundle: Bundle, store: Store, lease: Lease, clock: Clock
) -> None:
    away = Store(connect("unix:///nowhere/redis.sock"), store.settings)
    unreachable = Lease(away, lease.job_id, "token", 1)
    reporter = StepReporter(unreachable, stopping=lambda: False, alive=lambda: None, clock=clock)
    for number in range(1, 200):
        clock.now += 0.1
        reporter(step(number))
    clock.now += 3.0
    with pytest.raises(RedisLost):
        reporter(step(200))
