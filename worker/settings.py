"""What a worker and the store can be told from outside, each as an `NI_...` variable."""

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.data_directory import default_data_directory, models_in


class Settings(BaseSettings):
    """Settings that the service and every worker of one installation must share."""

    model_config = SettingsConfigDict(
        env_prefix="NI_", extra="ignore", protected_namespaces=(), frozen=True
    )

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="Redis that holds latents, job records and queues (redis://, rediss://, "
        "unix://).",
    )
    redis_timeout_s: float = Field(
        5.0, gt=0, description="Seconds one Redis command may take before it counts as failed."
    )
    redis_patience_s: float = Field(
        600.0,
        ge=0,
        description="Seconds a worker keeps a running job while Redis cannot be reached; then "
        "it drops the job, and the watchdog gives it to another worker.",
    )
    key_prefix: str = Field(
        "ni",
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="First part of every Redis key of this installation.",
    )
    queue_name: str = Field(
        "ni", pattern=r"^[A-Za-z0-9_.-]+$", description="Name of the RQ queue of inversions."
    )
    queue_limit: int = Field(
        1000, ge=1, description="Jobs that may wait; one more is refused with a time to retry."
    )

    model_dir: Path = Field(
        default_factory=lambda: models_in(default_data_directory(os.environ)),
        description="Folder of bundles, beside the embedded ones which are always there; `models` "
        "in the data directory of `ni up` unless set.",
    )
    device: str = Field("auto", description="Where networks run: auto, cpu, cuda or cuda:<index>.")
    cache_bytes: int = Field(
        4 * 1024**3, gt=0, description="Bytes of bundles one process keeps loaded."
    )
    preload: tuple[str, ...] = Field(
        ("portraits",), description="Bundles (a JSON list) a worker loads before its first job."
    )

    latent_ttl_s: int = Field(86_400, ge=1, description="Seconds a latent is kept.")
    image_ttl_s: int = Field(
        86_400, ge=1, description="Seconds an uploaded picture is kept after its last use."
    )
    job_ttl_s: int = Field(
        7 * 86_400, ge=1, description="Seconds a job record is kept; longer than its latents."
    )
    tombstone_ttl_s: int = Field(
        30 * 86_400,
        ge=1,
        description="Seconds an expired or deleted id is remembered, so that it answers 410.",
    )
    event_ttl_s: int = Field(
        86_400, ge=1, description="Seconds the events of a job can be replayed."
    )
    event_limit: int = Field(1000, ge=10, description="Newest events kept per job (approximate).")

    heartbeat_timeout_s: float = Field(
        60.0,
        gt=0,
        description="Seconds without a sign of life after which a running job is taken from its "
        "worker. Must exceed the longest single step.",
    )
    heartbeat_interval_s: float = Field(
        1.0, gt=0, description="Seconds between signs of life of a worker."
    )
    watchdog_interval_s: float = Field(
        15.0, gt=0, description="Seconds between two looks at jobs that lost their worker."
    )
    checkpoint_interval_s: float = Field(
        2.0, ge=0, description="Seconds between saved latents of a running job."
    )
    progress_interval_s: float = Field(
        0.1, ge=0, description="Seconds between progress events of a job."
    )
    preview_interval_s: float = Field(
        1.0, ge=0, description="Seconds between preview pictures of a running job; 0 turns off."
    )
    preview_px: int = Field(
        256, ge=16, le=1024, description="Largest side of a preview picture, in pixels."
    )
    control_interval_s: float = Field(
        0.02,
        ge=0,
        description="Seconds between two looks for a cancel; every step where steps are longer.",
    )

    job_time_limit_s: float = Field(
        1800.0, gt=0, description="Seconds one attempt at a job may run; then the job fails."
    )
    hard_limit_grace_s: float = Field(
        60.0,
        gt=0,
        description="Seconds past the time limit after which a worker that hangs inside one "
        "step fails the job and ends its own process.",
    )
    max_attempts: int = Field(
        3, ge=1, description="Workers a job may lose before it fails as worker-lost."
    )
