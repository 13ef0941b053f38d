"""Render service/studio/sample.png, the picture that examples use; no training has seen it."""

from pathlib import Path

from ni_core.images import encode_image
from ni_core.training.portraits import render, sample_factors

STREAM = 999
"""Training draws from stream 1."""
INDEX = 5
PIXELS = 256


def main() -> None:
    picture = render(sample_factors(STREAM, INDEX, 1), PIXELS)[0]
    Path("service/studio/sample.png").write_bytes(encode_image(picture))


if __name__ == "__main__":
    main()
