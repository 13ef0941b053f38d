"""What the service can be told from outside, beside what it shares with the workers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from worker.settings import Settings

_DIGEST = re.compile(r"[0-9a-f]{64}")


class ServiceSettings(Settings):
    """Settings of one service process, each also an `NI_...` variable."""

    default_model: str = Field(
        "portraits", description="Bundle used where a request names no model."
    )

    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="SHA-256 digests (hexadecimal, comma-separated) of the keys that open the "
        "service; none means open to all.",
    )
    api_keys_file: Path | None = Field(
        None, description="File with one digest per line, in addition; # starts a comment."
    )

    max_upload_bytes: int = Field(
        32 * 1024**2, gt=0, description="Longest body of POST /invert and POST /latents, in bytes."
    )
    max_json_bytes: int = Field(
        2 * 1024**2, gt=0, description="Longest body of every other call, in bytes."
    )
    max_image_px: int = Field(
        40_000_000, gt=0, description="Most pixels of a picture, checked before it is decoded."
    )
    max_batch_images: int = Field(16, ge=1, description="Most pictures of one POST /invert.")
    max_edit_weights: int = Field(64, ge=1, description="Most weights of one POST /edit.")
    max_sweep_frames: int = Field(32, ge=2, description="Most pictures of one POST /edit/sweep.")
    max_directions: int = Field(512, ge=1, description="Most directions one answer lists (k).")

    prefer_wait_limit_s: float = Field(
        60.0, ge=0, description="Longest wait, in seconds, that `Prefer: wait=N` is granted."
    )
    heartbeat_event_s: float = Field(
        15.0, gt=0, description="Seconds of silence after which an event stream sends a comment."
    )

    render_batch: int = Field(16, ge=1, description="Most edits rendered as one batch.")
    render_queue_limit: int = Field(
        256, ge=1, description="Edits that may wait to be rendered; one more is refused."
    )
    render_threads: int = Field(
        0, ge=0, description="Threads one render may use on a CPU; 0 leaves it to PyTorch."
    )
    store_timeout_s: float = Field(
        1.0,
        gt=0,
        description="Seconds the service gives one Redis command before it answers 503; "
        "`redis_timeout_s` where that is shorter.",
    )
    watchdog: bool = Field(
        True, description="Whether this process, too, looks for jobs that lost their worker."
    )

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("api_keys")
    @classmethod
    def _check_digests(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_check_digest(digest) for digest in value)

    def key_digests(self) -> tuple[str, ...]:
        """Digests of all configured API keys; empty means open to all.

        Raises:
            ValueError: A line of `api_keys_file` is not a SHA-256 digest.
            OSError: The file cannot be read.
        """
        if self.api_keys_file is None:
            return self.api_keys
        lines = self.api_keys_file.read_text("utf-8").splitlines()
        listed = [line.split("#")[0].strip() for line in lines]
        return (*self.api_keys, *(_check_digest(digest) for digest in listed if digest))


def _check_digest(text: str) -> str:
    digest = text.lower()
    if not _DIGEST.fullmatch(digest):
        raise ValueError("an API key is configured by its SHA-256 digest: 64 hexadecimal digits")
    return digest
