"""Any bytes give an image or an InvalidImageError; what is encoded comes back."""

import io
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from ni_core.errors import ImageTooLargeError, InvalidImageError
from ni_core.images import MEDIA_TYPES, animate, decode_image, encode_image, fit, grid


def to_bytes(picture: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def colours(width: int = 8, height: int = 6, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def levels(image: torch.Tensor) -> torch.Tensor:
    return (image + 1) * 127.5


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF", "JPEG", "WEBP"])
def test_each_readable_format_is_decoded_to_rgb_in_minus_one_to_one(format: str) -> None:
    image = decode_image(to_bytes(colours(), format))
    assert image.shape == (3, 6, 8)
    assert image.dtype == torch.float32
    assert image.min() >= -1
    assert image.max() <= 1


def test_a_png_keeps_its_values_and_its_orientation() -> None:
    picture = Image.new("RGB", (3, 2), "black")
    picture.putpixel((2, 0), (255, 0, 51))
    image = decode_image(to_bytes(picture))
    torch.testing.assert_close(image[:, 0, 2], torch.tensor([1.0, -1.0, -0.6]))
    assert (image[:, 1] == -1).all()


def test_empty_bytes_and_a_text_are_not_images() -> None:
    with pytest.raises(InvalidImageError, match="0 bytes"):
        decode_image(b"")
    with pytest.raises(InvalidImageError, match="the 5 bytes are not a PNG, JPEG"):
        decode_image(b"hello")


@pytest.mark.parametrize("format", ["PPM", "ICO", "TGA", "PDF"])
def test_a_format_that_is_not_listed_is_refused(format: str) -> None:
    with pytest.raises(InvalidImageError):
        decode_image(to_bytes(colours(16, 16), format))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_a_truncated_file_is_refused(format: str) -> None:
    data = to_bytes(colours(64, 64), format)
    with pytest.raises(InvalidImageError, match=r"damaged or truncated|are not a"):
        decode_image(data[: len(data) // 2])


def test_fifty_megapixels_are_refused_before_decoding() -> None:
    data = to_bytes(Image.new("1", (10_000, 5_000)))
    assert len(data) < 20_000
    with pytest.raises(ImageTooLargeError, match=r"10000 x 5000.*limit is 40,000,000") as caught:
        decode_image(data[:1000])  # the pixels are not even there
    assert caught.value.details == {"pixels": 50_000_000, "limit": 40_000_000}


def test_a_decompression_bomb_is_refused_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for side in (10_000, 20_000):
            with pytest.raises(ImageTooLargeError):
                decode_image(to_bytes(Image.new("1", (side, side)))[:1000])


def test_the_pixel_limit_itself_is_accepted() -> None:
    data = to_bytes(colours(8, 5))
    assert decode_image(data, max_pixels=40).shape == (3, 5, 8)
    with pytest.raises(ImageTooLargeError):
        decode_image(data, max_pixels=39)


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_is_converted_and_not_inverted(format: str) -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    pixel = levels(decode_image(to_bytes(red, format)))[:, 4, 4]
    assert pixel[0] > 240
    assert pixel[1:].max() < 15


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_gray_is_scaled_not_clipped(format: str) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    image = decode_image(to_bytes(Image.fromarray(ramp), format))
    torch.testing.assert_close(
        levels(image)[0].flatten(), torch.linspace(0, 255, 64), atol=0.6, rtol=0
    )
    assert torch.equal(image[0], image[1])


def test_big_endian_and_float_tiffs_are_scaled() -> None:
    ramp = np.linspace(0, 65535, 64).reshape(8, 8)
    big_endian = Image.frombytes("I;16B", (8, 8), ramp.astype(">u2").tobytes())
    floats = Image.fromarray((ramp / 65535).astype(np.float32))
    for picture in (big_endian, floats):
        image = decode_image(to_bytes(picture, "TIFF"))
        torch.testing.assert_close(
            levels(image)[0].flatten(), torch.linspace(0, 255, 64), atol=0.6, rtol=0
        )


def test_a_float_tiff_with_nan_gives_finite_values() -> None:
    gray = np.full((4, 4), np.nan, dtype=np.float32)
    assert decode_image(to_bytes(Image.fromarray(gray), "TIFF")).isfinite().all()


@pytest.mark.parametrize("mode", ["P", "L", "1", "LA", "RGBA"])
def test_each_png_mode_gives_three_channels(mode: str) -> None:
    assert decode_image(to_bytes(colours(mode=mode))).shape == (3, 6, 8)


def test_alpha_is_flattened_on_white() -> None:
    clear = decode_image(to_bytes(Image.new("RGBA", (2, 2), (255, 0, 0, 0))))
    half = decode_image(to_bytes(Image.new("LA", (2, 2), (0, 128))))
    assert (clear == 1).all()
    torch.testing.assert_close(levels(half), torch.full((3, 2, 2), 127.0), atol=1, rtol=0)


def test_a_transparent_palette_colour_becomes_white() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putdata([0, 1])
    image = decode_image(to_bytes(picture, transparency=0))
    torch.testing.assert_close(levels(image)[:, 0, 0], torch.full((3,), 255.0))
    torch.testing.assert_close(levels(image)[:, 0, 1], torch.tensor([0.0, 0.0, 255.0]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(orientation: int) -> None:
    undo: dict[int, Callable[[Image.Image], Image.Image]] = {
        1: lambda p: p,
        2: lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda p: p.transpose(Image.Transpose.ROTATE_180),
        4: lambda p: p.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda p: p.transpose(Image.Transpose.TRANSPOSE),
        6: lambda p: p.transpose(Image.Transpose.ROTATE_90),
        7: lambda p: p.transpose(Image.Transpose.TRANSVERSE),
        8: lambda p: p.transpose(Image.Transpose.ROTATE_270),
    }
    upright = colours()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = undo[orientation](upright)
    image = decode_image(to_bytes(stored, exif=exif))
    assert torch.equal(image, decode_image(to_bytes(upright)))


def test_unreadable_exif_data_is_ignored() -> None:
    data = to_bytes(colours(), "JPEG", exif=b"Exif\x00\x00garbage that is no TIFF header")
    assert decode_image(data).shape == (3, 6, 8)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [torch.full((3, 4, 4), value) for value in (-1.0, 0.0, 1.0)]
    for format in ("gif", "webp"):
        image = decode_image(animate(frames, format))
        torch.testing.assert_close(image, frames[0], atol=0.05, rtol=0)


def test_a_single_pixel_is_an_image() -> None:
    image = decode_image(to_bytes(Image.new("RGB", (1, 1), "red")))
    assert image.shape == (3, 1, 1)
    torch.testing.assert_close(fit(image, 16)[:, 3, 5], torch.tensor([1.0, -1.0, -1.0]))


def test_an_embedded_profile_is_converted_to_srgb() -> None:
    gray = Image.new("L", (4, 4), 120)
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = decode_image(to_bytes(colours()))
    assert torch.equal(decode_image(to_bytes(colours(), icc_profile=srgb)), plain)
    for unusable in (linear, b"not a profile"):
        image = decode_image(to_bytes(gray, icc_profile=unusable))
        torch.testing.assert_close(levels(image), torch.full((3, 4, 4), 120.0))


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_short_side_reduces_large_pictures_and_leaves_small_ones(format: str) -> None:
    assert decode_image(to_bytes(colours(800, 400), format), short_side=50).shape == (3, 50, 100)
    assert decode_image(to_bytes(colours(40, 30), format), short_side=50).shape == (3, 30, 40)
    assert decode_image(to_bytes(colours(999, 1), format), short_side=50).shape == (3, 1, 999)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_an_image_or_an_invalid_image_error(data: bytes) -> None:
    try:
        image = decode_image(data)
    except InvalidImageError:
        return
    assert image.isfinite().all()


VALID = [
    to_bytes(colours(12, 9, mode), format)
    for mode, format in [
        ("RGB", "PNG"),
        ("P", "PNG"),
        ("RGBA", "PNG"),
        ("RGB", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGB", "WEBP"),
        ("P", "GIF"),
        ("RGB", "BMP"),
        ("RGB", "TIFF"),
    ]
] + [to_bytes(colours(12, 9), "TIFF", compression="tiff_lzw")]


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(VALID),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_any_damage_gives_an_image_or_an_invalid_image_error(
    data: bytes, damages: list[tuple[float, bytes]], kept: float
) -> None:
    damaged = bytearray(data)
    for place, replacement in damages:
        start = int(place * len(damaged))
        damaged[start : start + len(replacement)] = replacement
    try:
        image = decode_image(bytes(damaged[: int(kept * len(damaged)) + 1]), max_pixels=1_000_000)
    except InvalidImageError:
        return
    assert image.isfinite().all()
    assert image.abs().max() <= 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_a_png_round_trip_is_exact(seed: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (3, height, width), generator=generator)
    image = pixels / 127.5 - 1
    assert torch.equal(levels(decode_image(encode_image(image, "png"))).round().long(), pixels)


def test_encoding_rounds_and_clips() -> None:
    values = torch.tensor([-7.0, -1 + 0.6 / 127.5, 1 - 0.4 / 127.5, 7.0])
    image = values.expand(3, 1, 4)
    decoded = levels(decode_image(encode_image(image, "png")))
    torch.testing.assert_close(decoded[0, 0], torch.tensor([0.0, 1.0, 255.0, 255.0]))


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
def test_each_encoding_comes_back_close_and_is_what_its_media_type_says(format: str) -> None:
    image = fit(decode_image(to_bytes(colours(4, 4))), 64)
    data = encode_image(image, format)
    assert Image.open(io.BytesIO(data)).get_format_mimetype() == MEDIA_TYPES[format]
    assert (decode_image(data) - image).abs().mean() < 0.05


def test_fit_crops_the_centre_and_leaves_a_fitting_image_alone() -> None:
    image = torch.full((3, 4, 8), -1.0)
    image[:, :, 2:6] = 0.5
    torch.testing.assert_close(fit(image, 16), torch.full((3, 16, 16), 0.5))
    square = torch.rand(3, 16, 16) * 2 - 1
    assert torch.equal(fit(square, 16), square)


def test_fit_does_not_alias() -> None:
    checkerboard = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 2.0 - 1
    assert fit(checkerboard.expand(3, 64, 64), 8).abs().max() < 0.1


def test_a_grid_shows_each_image_once_on_white() -> None:
    images = torch.stack([torch.full((3, 4, 5), value) for value in (-1.0, -0.5, 0.0)])
    sheet = grid(images, columns=2, gap=1)
    assert sheet.shape == (3, 2 * 5 + 1, 2 * 6 + 1)
    assert (sheet[:, 1:5, 1:6] == -1).all()
    assert (sheet[:, 1:5, 7:12] == -0.5).all()
    assert (sheet[:, 6:10, 1:6] == 0).all()
    assert (sheet[:, 6:10, 7:12] == 1).all()
    assert (sheet[:, [0, 5, 10]] == 1).all()
    assert (sheet[:, :, [0, 6, 12]] == 1).all()
