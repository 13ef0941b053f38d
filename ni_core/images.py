"""Bytes <-> image tensors. The only place that knows Pillow.

Inside `ni_core` an image is RGB float32 `[3, h, w]` in [-1, 1].
"""

from __future__ import annotations

import io
import math
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ni_core.errors import ImageTooLargeError, InvalidImageError

ImageFormat = Literal["png", "webp", "jpeg"]
AnimationFormat = Literal["webp", "gif"]

MEDIA_TYPES = {
    "png": "image/png",
    "webp": "image/webp",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
}

MAX_PIXELS = 40_000_000
_READABLE = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_PNG_STRATEGY = zlib.Z_RLE
"""Compresses three times as fast as the default and makes files 7 % larger (64 px, measured)."""

_SRGB = ImageCms.createProfile("sRGB")
_warning_filters = threading.Lock()


def decode_image(
    data: bytes, *, max_pixels: int = MAX_PIXELS, short_side: int | None = None
) -> Float[Tensor, "3 h w"]:
    """Decode a picture file, whatever its colours, depth or orientation.

    The EXIF orientation is applied, an embedded colour profile is converted to sRGB, alpha is
    flattened on white, and of an animation the first frame is taken.

    Args:
        data: A PNG, JPEG, WebP, GIF, BMP or TIFF file; its content decides, never a name.
        max_pixels: Limit on width x height, checked before any pixel is decoded.
        short_side: Reduce a larger picture until its shorter side has this many pixels. Spares
            the memory of a photograph that will be shrunk to the size of a model anyway.

    Returns:
        The picture, RGB in [-1, 1].

    Raises:
        InvalidImageError: The bytes are not a picture, or a damaged one.
        ImageTooLargeError: More pixels than `max_pixels`.
    """
    if not data:
        raise InvalidImageError("the image is empty: 0 bytes", bytes=0)
    try:
        with _pillow_warnings():
            return _to_tensor(_decode(data, max_pixels, short_side))
    except InvalidImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"the image is too large: {error}", limit=max_pixels) from error
    except Exception as error:  # on damaged files Pillow's readers raise nearly every class
        raise InvalidImageError(
            f"the image of {len(data)} bytes is damaged or truncated", bytes=len(data)
        ) from error


def encode_image(
    image: Float[Tensor, "3 h w"], format: ImageFormat = "png", *, quality: int = 92
) -> bytes:
    """Encode an image; values beyond [-1, 1] are clipped, the others rounded to 8 bits.

    Args:
        image: RGB in [-1, 1].
        format: "png" and its pixels are exact, "webp" and "jpeg" are lossy.
        quality: 1 to 100, for the lossy formats.
    """
    file = io.BytesIO()
    picture = _to_picture(image)
    if format == "jpeg":
        picture.save(file, "JPEG", quality=quality, subsampling=0)
    elif format == "webp":
        picture.save(file, "WEBP", quality=quality)
    else:
        picture.save(file, "PNG", compress_type=_PNG_STRATEGY)
    return file.getvalue()


def animate(
    images: Sequence[Float[Tensor, "3 h w"]],
    format: AnimationFormat = "webp",
    *,
    frame_s: float = 0.1,
    quality: int = 92,
) -> bytes:
    """Encode images of one size as an endless animation, `frame_s` seconds for each."""
    first, *others = [_to_picture(image) for image in images]
    file = io.BytesIO()
    first.save(
        file,
        format.upper(),
        save_all=True,
        append_images=others,
        duration=round(frame_s * 1000),
        loop=0,
        quality=quality,
    )
    return file.getvalue()


def fit(image: Float[Tensor, "3 h w"], resolution: int) -> Float[Tensor, "3 r r"]:
    """Crop the centre to a square and resize it without aliasing to `resolution` pixels."""
    _, height, width = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[:, top : top + side, left : left + side]
    if side == resolution:
        return square
    size = (resolution, resolution)
    resized = interpolate(square[None], size=size, mode="bicubic", antialias=True)
    return resized[0].clamp(-1, 1)


def grid(images: Float[Tensor, "n 3 h w"], columns: int, *, gap: int = 2) -> Float[Tensor, "3 H W"]:
    """Lay images out on a white sheet, row by row, `gap` pixels apart."""
    rows = math.ceil(len(images) / columns)
    blank = images.new_ones(rows * columns - len(images), *images.shape[1:])
    cells = pad(torch.cat([images, blank]), (gap, 0, gap, 0), value=1.0)
    cells = cells.reshape(rows, columns, *cells.shape[1:]).permute(2, 0, 3, 1, 4)
    sheet = cells.flatten(3, 4).flatten(1, 2)
    return pad(sheet[..., gap:], (gap, gap, 0, gap), value=1.0)


@contextmanager
def _pillow_warnings() -> Iterator[None]:
    """Silence Pillow about odd metadata; what it warns of as a bomb becomes an error.

    Filters of `warnings` belong to the whole process, so one picture is decoded at a time; that
    also bounds the memory of several large uploads.
    """
    with _warning_filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _decode(data: bytes, max_pixels: int, short_side: int | None) -> Image.Image:
    """The first frame, upright, as an RGB picture."""
    with _open(data) as opened:
        _check_pixels(opened.size, max_pixels)
        if short_side is not None:
            opened.draft("RGB", (short_side * 2, short_side * 2))  # JPEG: decode 1/2, 1/4 or 1/8
        opened.load()
        profile = opened.info.get("icc_profile")
        picture = _upright(opened)
    picture = _eight_bit(picture)
    if short_side is not None:
        picture = _reduce(picture, short_side)
    return _flatten(_to_srgb(picture, profile))


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=_READABLE)
    except UnidentifiedImageError as error:
        raise InvalidImageError(
            f"the {len(data)} bytes are not a {', '.join(_READABLE[:-1])} or {_READABLE[-1]} image",
            bytes=len(data),
            readable=list(_READABLE),
        ) from error


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"an image of {width} x {height} has {width * height:,} pixels; "
            f"the limit is {max_pixels:,}",
            pixels=width * height,
            limit=max_pixels,
        )


def _upright(picture: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; unreadable EXIF data is no reason to refuse a picture."""
    with suppress(Exception):
        return ImageOps.exif_transpose(picture)
    return picture.copy()


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Bring any mode to L, RGB, RGBA or CMYK: 16 bits are scaled to 8, never clipped."""
    mode = picture.mode
    if mode.startswith("I") or mode == "F":
        return Image.fromarray(_scale_deep_gray(np.asarray(picture)))
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    if mode in ("L", "RGB", "CMYK"):
        return picture
    return picture.convert("L" if mode == "1" else "RGB")


def _scale_deep_gray(
    gray: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Scale gray of 16 or 32 bits, or of floats in 0 to 1, to 8 bits."""
    white = {"f": 1.0, "u": 65535.0, "i": 65535.0}[gray.dtype.kind]
    if gray.dtype.itemsize == 4 and gray.dtype.kind != "f" and gray.max() > white:
        white = 2.0**31 - 1 if gray.dtype.kind == "i" else 2.0**32 - 1
    unit = np.nan_to_num(gray.astype(np.float64) / white, nan=0.0, posinf=1.0, neginf=0.0)
    return np.asarray(np.rint(unit.clip(0, 1) * 255), dtype=np.uint8)


def _reduce(picture: Image.Image, short_side: int) -> Image.Image:
    scale = short_side / min(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert from the embedded profile; one that cannot be used is ignored, as viewers do."""
    if profile:
        target = "RGBA" if picture.mode == "RGBA" else "RGB"
        with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(picture, source, _SRGB, outputMode=target)
            if converted is not None:
                return converted
    return picture


def _flatten(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _to_tensor(picture: Image.Image) -> Float[Tensor, "3 h w"]:
    pixels = torch.from_numpy(np.array(picture, dtype=np.uint8))
    return pixels.permute(2, 0, 1).float().div_(127.5).sub_(1).contiguous()


def _to_picture(image: Float[Tensor, "3 h w"]) -> Image.Image:
    bytes_ = image.detach().float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return Image.fromarray(bytes_.permute(1, 2, 0).cpu().contiguous().numpy())
