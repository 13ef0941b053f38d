"""Small real things the worker's tests need again and again."""

import torch

from ni_core.bundles import Bundle
from ni_core.images import encode_image
from ni_core.latents import Latent
from worker.contracts import InversionRequest, JobResult, WhatWasDone
from worker.lease import Lease, new_token
from worker.records import latent_record
from worker.store import Store


def tiny_latent(bundle: Bundle, seed: int = 0) -> Latent:
    """A latent of the tiny generator."""
    generator = bundle.generator
    random = torch.Generator().manual_seed(seed)
    numbers = torch.randn(generator.num_layers, generator.w_dim, generator=random)
    return Latent(numbers, "w+", generator.fingerprint)


def picture(bundle: Bundle, seed: int = 0) -> bytes:
    """A picture the tiny generator can make."""
    latent = tiny_latent(bundle, seed).tensor[None]
    with torch.no_grad():
        return encode_image(bundle.generator.synthesize(latent)[0].clamp(-1, 1), "png")


def request(
    store: Store, bundle: Bundle, *, seed: int = 0, batch: int = 1, **options: object
) -> InversionRequest:
    """A request for a descent from stored pictures; few steps unless told otherwise."""
    images = [store.put_image(picture(bundle, seed + number)) for number in range(batch)]
    return InversionRequest.model_validate(
        {
            "model": "tiny",
            "generator": bundle.generator.fingerprint,
            "method": "optimize",
            "options": {"steps": 3, "space": "w+", **options},
            "images": images,
        }
    )


def claim(store: Store, job_id: str, worker: str = "test") -> Lease:
    """Take a queued job, as a worker does."""
    lease = Lease.claim(store, job_id, worker, new_token())
    assert lease is not None
    return lease


def result_of(store: Store, latent: Latent) -> JobResult:
    """A result with one latent."""
    record = latent_record(
        latent, model="tiny", method="optimize", ttl_s=store.settings.latent_ttl_s
    )
    what = WhatWasDone(
        method="optimize", options={}, steps=3, stopped="steps", seconds=0.1, device="cpu"
    )
    return JobResult(latents=(record,), what_was_done=what)
