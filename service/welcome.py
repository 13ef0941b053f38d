"""What `ni up` prints once it serves: addresses, and three curl lines that work as printed."""

import shlex
from pathlib import Path

SAMPLE = Path(__file__).parent / "studio" / "sample.png"
FIND_LATENT = r"""sed 's/.*"latents": *\[{"id": *"\([^"]*\)".*/\1/'"""


def curl_lines(address: str, with_key: bool) -> tuple[str, str, str]:
    """Return the commands that invert a picture, list directions and edit the picture."""
    key = ' -H "Authorization: Bearer $NI_KEY"' if with_key else ""
    sample = shlex.quote(f"image=@{SAMPLE}")
    edit = """'{"latent": "'$LATENT'", "weights": {"0": 2.5}, "layers": "0-5"}'"""
    return (
        f"LATENT=$(curl -s{key} -H 'Prefer: wait=60' -F {sample} {address}/invert | {FIND_LATENT})",
        f"curl -s{key} '{address}/directions?layers=0-5&k=3'",
        f"curl -s{key} -H 'Content-Type: application/json' -H 'Accept: image/png' -d {edit} "
        f"-o edited.png {address}/edit",
    )


def welcome(address: str, studio: bool, with_key: bool) -> str:
    """Return the whole text."""
    lines = ["", f"Serving at {address}"]
    if studio:
        lines.append(f"  the studio page    {address}/studio/")
    lines += [f"  the HTTP reference {address}/docs", ""]
    lines += ["Invert a picture, list directions, edit the picture:", ""]
    if with_key:
        lines.append("NI_KEY='one of your keys'")
    lines += [*curl_lines(address, with_key), "", "Ctrl-C stops everything.", ""]
    return "\n".join(lines)
