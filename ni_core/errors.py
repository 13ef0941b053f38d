"""The tree of domain errors.

    NiError
    ├── InvalidInputError (ValueError)      the caller sent something that cannot be used
    │   ├── InvalidImageError
    │   │   └── ImageTooLargeError
    │   ├── InvalidLatentError
    │   ├── InvalidLayersError
    │   ├── InvalidWeightError
    │   ├── InvalidOptionError
    │   └── SpaceNotAvailableError
    ├── NotFoundError (LookupError)         the caller named something that is not there
    │   ├── UnknownModelError
    │   ├── UnknownMethodError
    │   └── UnknownDirectionError
    ├── ModelError                          the model's files or their combination are at fault
    │   ├── BrokenBundleError
    │   ├── CheckpointError
    │   │   └── UnsafeCheckpointError
    │   └── GeneratorMismatchError
    └── InversionDivergedError              the descent left the finite numbers

Each class has a stable `code`; each message is fit to be shown to a user.
"""

from __future__ import annotations

from typing import ClassVar

Detail = str | int | float | bool | None | list[str] | list[int] | list[float]


class NiError(Exception):
    """Base of all errors this package raises on purpose.

    Attributes:
        code: Stable slug, the same in Python, in job records and in HTTP problems.
        details: The offending value and the limit, as JSON values.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, **details: Detail) -> None:
        super().__init__(message)
        self.details: dict[str, Detail] = details


class InvalidInputError(NiError, ValueError):
    """Input that cannot be used, whatever the model."""

    code = "invalid-input"


class InvalidImageError(InvalidInputError):
    """Bytes that are not an image we read."""

    code = "invalid-image"


class ImageTooLargeError(InvalidImageError):
    """An image with more pixels than the limit, refused before it is decoded."""

    code = "image-too-large"


class InvalidLatentError(InvalidInputError):
    """A latent of the wrong shape, type or file format, or with non-finite numbers."""

    code = "invalid-latent"


class InvalidLayersError(InvalidInputError):
    """A layers text that cannot be read, or that names rows the generator lacks."""

    code = "invalid-layers"


class InvalidWeightError(InvalidInputError):
    """A slider weight that is not finite or beyond the limit."""

    code = "invalid-weight"


class InvalidOptionError(InvalidInputError):
    """An option of a method that is unknown, of the wrong type or out of range."""

    code = "invalid-option"


class SpaceNotAvailableError(InvalidInputError):
    """A latent space the generator does not have."""

    code = "space-not-available"


class NotFoundError(NiError, LookupError):
    """Something was named that is not there."""

    code = "not-found"


class UnknownModelError(NotFoundError):
    """No bundle has this name."""

    code = "unknown-model"


class UnknownMethodError(NotFoundError):
    """No inversion or direction method has this name, or the model lacks a part it needs."""

    code = "unknown-method"


class UnknownDirectionError(NotFoundError):
    """No direction has this id or index."""

    code = "unknown-direction"


class ModelError(NiError):
    """The model's files, or the way they are combined, are at fault."""

    code = "model-error"


class BrokenBundleError(ModelError):
    """A bundle's manifest or weights cannot be read."""

    code = "broken-bundle"


class CheckpointError(ModelError):
    """A checkpoint of another system cannot be read, or is not what it was taken for."""

    code = "unreadable-checkpoint"


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint that would have to run code, or to take unbounded memory, to be read."""

    code = "unsafe-checkpoint"


class GeneratorMismatchError(ModelError, ValueError):
    """A latent or direction of one generator was given to another."""

    code = "generator-mismatch"


class InversionDivergedError(NiError):
    """Loss or gradient became non-finite; there is no result."""

    code = "inversion-diverged"
