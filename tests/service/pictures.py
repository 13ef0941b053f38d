"""Pictures as files, good and bad."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def noise_pixels(side: int = 24, seed: int = 0) -> np.ndarray:
    """RGB bytes `[side, side, 3]`: soft blobs, so that pictures differ visibly."""
    coarse = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def encoded(picture: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def photo(seed: int = 0, side: int = 24) -> bytes:
    """A small PNG."""
    return encoded(Image.fromarray(noise_pixels(side, seed)))


def cmyk() -> bytes:
    return encoded(Image.fromarray(noise_pixels()).convert("CMYK"), "JPEG")


def sixteen_bit() -> bytes:
    return encoded(Image.fromarray(noise_pixels()[..., 0].astype(np.uint16) * 257))


def palette() -> bytes:
    return encoded(Image.fromarray(noise_pixels()).convert("P"))


def alpha() -> bytes:
    return encoded(Image.fromarray(noise_pixels()).convert("RGBA"))


def rotated() -> bytes:
    """A wide JPEG whose EXIF orientation says it is tall."""
    picture = Image.fromarray(noise_pixels(32)[:20])
    exif = picture.getexif()
    exif[0x0112] = 6
    return encoded(picture, "JPEG", exif=exif)


def animated() -> bytes:
    frames = [Image.fromarray(noise_pixels(seed=seed)) for seed in range(3)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def one_pixel() -> bytes:
    return encoded(Image.new("RGB", (1, 1), "red"))


def truncated() -> bytes:
    whole = photo()
    return whole[: len(whole) // 2]


def fifty_megapixels() -> bytes:
    return encoded(Image.new("1", (10_000, 5_000)))


def pixels_of(file: bytes) -> np.ndarray:
    """RGB bytes of a picture file."""
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
