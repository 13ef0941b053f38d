from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from ni_core.bundles import Bundle, load_bundle, write_tiny_bundle
from service.errors import BusyError
from service.metrics import Metrics
from service.renderer import Renderer


@pytest.fixture
def renderer() -> Iterator[Renderer]:
    """A renderer that has not been started, so that orders pile up."""
    renderer = Renderer(Metrics(), max_batch=4, queue_limit=10)
    yield renderer
    renderer.close()


def latents(number: int) -> torch.Tensor:
    return torch.randn(number, 6, 32, generator=torch.Generator().manual_seed(0))


def test_orders_that_wait_are_rendered_together_each_into_its_own_picture(
    renderer: Renderer, tiny_bundle: Bundle
) -> None:
    orders = latents(10)
    futures = [renderer.submit(tiny_bundle, latent) for latent in orders]
    renderer.start()
    pictures = torch.stack([future.result(timeout=30) for future in futures])
    with torch.inference_mode():
        expected = tiny_bundle.generator.synthesize(orders)
    torch.testing.assert_close(pictures, expected, atol=1e-4, rtol=1e-4)
    figures = renderer._metrics.exposition().decode()
    assert "ni_render_batch_size_count 3.0" in figures  # 4 + 4 + 2
    assert "ni_render_batch_size_sum 10.0" in figures


def test_a_batch_of_large_pictures_is_rendered_in_portions(
    renderer: Renderer, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.renderer.BATCH_PX", 3 * 16 * 16)
    futures = [renderer.submit(tiny_bundle, latent) for latent in latents(4)]
    renderer.start()
    for future in futures:
        future.result(timeout=30)
    figures = renderer._metrics.exposition().decode()
    assert "ni_render_batch_size_count 2.0" in figures  # 3 + 1
    assert "ni_render_batch_size_sum 4.0" in figures


def test_models_are_not_mixed(renderer: Renderer, tiny_bundle: Bundle, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path, name="other", seed=5)
    other = load_bundle(tmp_path / "other")
    (latent,) = latents(1)
    futures = [renderer.submit(bundle, latent) for bundle in (tiny_bundle, other, tiny_bundle)]
    renderer.start()
    first, second, third = (future.result(timeout=30) for future in futures)
    assert first.equal(third) and not first.equal(second)


def test_an_order_that_cannot_be_rendered_fails_alone_with_its_batch(
    renderer: Renderer, tiny_bundle: Bundle
) -> None:
    bad = renderer.submit(tiny_bundle, torch.zeros(3))
    renderer.start()
    assert bad.exception(timeout=30) is not None
    (latent,) = latents(1)
    assert renderer.submit(tiny_bundle, latent).result(timeout=30).shape == (3, 16, 16)


def test_an_order_nobody_waits_for_is_not_rendered(renderer: Renderer, tiny_bundle: Bundle) -> None:
    (latent,) = latents(1)
    dropped, wanted = (renderer.submit(tiny_bundle, latent) for _ in range(2))
    assert dropped.cancel()
    renderer.start()
    wanted.result(timeout=30)
    assert "ni_render_batch_size_sum 1.0" in renderer._metrics.exposition().decode()


def test_waiting_orders_are_limited(renderer: Renderer, tiny_bundle: Bundle) -> None:
    (latent,) = latents(1)
    for _ in range(10):
        renderer.submit(tiny_bundle, latent)
    with pytest.raises(BusyError, match="10") as caught:
        renderer.submit(tiny_bundle, latent)
    assert caught.value.headers == {"Retry-After": "1"}


def test_a_closed_renderer_finishes_what_waits_and_takes_no_more(
    renderer: Renderer, tiny_bundle: Bundle
) -> None:
    (latent,) = latents(1)
    future = renderer.submit(tiny_bundle, latent)
    renderer.start()
    renderer.close()
    assert future.result(timeout=30).shape == (3, 16, 16)
    with pytest.raises(BusyError):
        renderer.submit(tiny_bundle, latent)


def test_a_picture_that_cannot_be_prepared_or_encoded_is_an_error_and_holds_up_nobody(
    renderer: Renderer, tiny_bundle: Bundle
) -> None:
    def broken(*_: object) -> NoReturn:
        raise LookupError("gone")

    (latent,) = latents(1)
    renderer.start()
    with ThreadPoolExecutor(2) as threads:
        unprepared: Future[tuple[int, bytes]] = renderer.pipe(broken, lambda picture: b"", threads)
        assert isinstance(unprepared.exception(timeout=30), LookupError)
        unencoded = renderer.pipe(lambda: (tiny_bundle, latent, 1), broken, threads)
        assert isinstance(unencoded.exception(timeout=30), LookupError)
        whole = renderer.pipe(lambda: (tiny_bundle, latent, 1), lambda picture: b"file", threads)
        assert whole.result(timeout=30) == (1, b"file")
    assert renderer._coming.value == 0
