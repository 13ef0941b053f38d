"""The shapes of requests and answers, as openapi.yaml shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from worker.contracts import JobStatus, Progress

Id = Annotated[str, StringConstraints(min_length=1, max_length=128)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
LayersText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Number = Annotated[float, Field(strict=True)]
"""A JSON number; text and booleans are not taken for one. NaN is refused further in, by name."""

Space = Literal["z", "w", "w+"]
DirectionKey = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Body(BaseModel):
    """A request body: unknown fields are errors, not silently dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class LatentSample(Body):
    """A latent drawn from the generator's own distribution; equal seeds, equal latents."""

    model: ModelName | None = Field(None, description="Bundle; the default one if left out.")
    seed: int = Field(
        0, ge=0, lt=2**63, strict=True, description="Seed of z, drawn by the generator's prior."
    )
    psi: Number = Field(
        1.0, ge=0, le=2, description="Truncation towards w_avg; 1 is none. Space z takes 1 only."
    )
    space: Space | None = Field(
        None,
        description="Space to store it in; w if left out, else w+ or z where the generator lacks "
        "it.",
    )
    label: int | None = Field(
        None,
        ge=0,
        strict=True,
        description="Class of a conditional model, below its `num_classes`; 0 if left out. The "
        "class is part of w: a latent in z does not keep it.",
    )


class LatentValues(Body):
    """A latent given by its numbers."""

    model: ModelName | None = Field(None, description="Bundle; the default one if left out.")
    space: Space = Field(description="Space of the numbers.")
    values: list[Any] = Field(description="Numbers: one list for z and w, one per row for w+.")


class LatentFile(Body):
    """A latent given as a file in base64."""

    model: ModelName | None = Field(None, description="Bundle; the default one if left out.")
    space: Space | None = Field(None, description="Needed where the shape leaves a choice.")
    data: str = Field(description="A safetensors or npy file, in base64.")


class EditBody(Body):
    """What to change about a latent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"latent": "5d1f0c…", "weights": {"0": 2.5}, "layers": "0-5"},
                {"latent": "5d1f0c…", "weights": {"sefa.0-5.0": 2.5, "sefa.6-9.3": -1}},
            ]
        }
    )

    latent: Id | LatentValues | LatentFile = Field(
        description="Id of a stored latent, or a latent itself.", union_mode="left_to_right"
    )
    weights: dict[DirectionKey, Number] = Field(
        default_factory=dict,
        description="Slider weights by direction id (`sefa.0-5.3`) or by index (`3`): the index "
        "counts the directions of `method` and `layers`. |weight| <= 100.",
    )
    layers: LayersText | None = Field(
        None,
        description="Rows of W+ that change, as in `0-5`. An index means a direction found for "
        "these rows. Left out: an id keeps its own rows, an index means one found for all, and an "
        "imported one its own rows.",
    )
    method: str = Field("sefa", max_length=64, description="Method that the indices belong to.")
    k: int | None = Field(
        None, ge=1, strict=True, description="Directions asked for; an index must be below it."
    )
    psi: Number = Field(
        1.0,
        ge=0,
        le=2,
        description="Truncation towards w_avg; 1 is none. A generator with only z takes 1 only.",
    )
    save: bool = Field(False, strict=True, description="Store the edited latent and answer its id.")


class SweepBody(Body):
    """One direction over a range of weights."""

    latent: Id | LatentValues | LatentFile = Field(
        description="Id of a stored latent, or a latent itself.", union_mode="left_to_right"
    )
    direction: DirectionKey = Field(description="Direction id or index.")
    low: Number | None = Field(None, description="First weight; the calibrated range's if left out")
    high: Number | None = Field(None, description="Last weight; the calibrated range's if left out")
    frames: int = Field(7, ge=2, strict=True, description="Number of pictures.")
    layers: LayersText | None = Field(None, description="As in POST /edit.")
    method: str = Field("sefa", max_length=64, description="As in POST /edit.")
    psi: Number = Field(1.0, ge=0, le=2, description="Truncation towards w_avg; 1 is none.")
    frame_s: Number = Field(0.1, ge=0.02, le=5, description="Seconds per frame of an animation.")


class LatentLinks(Answer):
    self: str
    image: str


class LatentAnswer(Answer):
    """A stored latent."""

    id: str
    model: str
    generator: str = Field(description="Fingerprint of the generator it belongs to.")
    method: str = Field(description="An inversion method, or sample, upload, edit.")
    space: str
    shape: tuple[int, ...]
    metrics: dict[str, JsonValue] | None = Field(
        description="mse (on [-1, 1]), psnr (dB), ssim, lpips and its trunk; null if not inverted "
        "or not measured."
    )
    source: str | None = Field(description="Id of the picture it was inverted from.")
    created_at: datetime
    expires_at: datetime
    links: LatentLinks


class LatentWithValues(LatentAnswer):
    """A stored latent with its numbers."""

    values: list[Any]


class ResultAnswer(Answer):
    """What a succeeded job leaves; the latents come in the order of the pictures."""

    latents: list[LatentAnswer]
    what_was_done: dict[str, JsonValue]
    history: list[list[float]] = Field(description="Loss of each picture over the steps, thinned.")


class Problem(Answer):
    """RFC 9457; more members say the offending value and the limit."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["/problems/invalid-image"])
    title: str
    status: int
    detail: str


class JobLinks(Answer):
    self: str
    events: str


class JobAnswer(Answer):
    """An inversion: its status outlives its result."""

    id: str
    kind: str
    status: JobStatus
    progress: Progress
    queue_position: int | None = Field(description="1 is next; null unless queued.")
    request: dict[str, JsonValue] = Field(description="model, method, options and picture ids.")
    result: ResultAnswer | None
    error: Problem | None = Field(description="Why it failed; a failed job is a 200 answer.")
    attempts: int
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime
    links: JobLinks


class JobList(Answer):
    jobs: list[JobAnswer]


class DirectionAnswer(Answer):
    """One direction; its id says method, layers and index, so every replica knows it."""

    id: str
    index: int
    method: str
    layers: str
    space: Literal["z", "w"] = Field(
        description="w: added to rows of W+. z: added before the mapping, to latents in z."
    )
    eigenvalue: float | None = Field(description="Its strength; null where the method has none.")
    name: str | None = Field(description="What it changes, if known.")
    source: str | None = Field(description="Format and file it was imported from.")
    range: tuple[float, float] = Field(description="Weights that keep pictures sane: low, high.")
    vector: list[float] | list[list[float]] | None = Field(
        None, description="Unit vector, or one for each row of W+, if asked for."
    )


class DirectionList(Answer):
    model: str
    generator: str
    method: str
    layers: str
    directions: list[DirectionAnswer]


class EditLinks(Answer):
    latent: str | None
    image: str | None


class EditAnswer(Answer):
    """An edit as JSON: the picture in base64, and the new latent's id if it was saved."""

    latent: str | None
    image: str
    media_type: str
    expires_at: datetime | None
    links: EditLinks


class ModelList(Answer):
    models: list[dict[str, JsonValue]]


class Live(Answer):
    status: Literal["live"] = "live"


class Ready(Answer):
    """Whether this process can answer, and what is missing if not."""

    status: Literal["starting", "ready", "draining", "unavailable"]
    reasons: list[str] = Field(description="Why it is not ready.")
    degraded: list[str] = Field(description="What does not work while the rest does.")
    workers: int | None = Field(description="Workers with a sign of life; null if Redis is away.")
    models: list[str] = Field(description="Bundles this process can serve.")


class ProblemDescription(Answer):
    type: str
    slug: str
    status: int
    title: str


class ProblemTable(Answer):
    problems: list[ProblemDescription]
