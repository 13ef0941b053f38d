"""Peak memory of service and worker after a whole session, against a process that imports torch.

Starts `ni up` on a free port, inverts one of the model's own pictures, edits it, and reads the
peak resident set of each process from /proc: Linux only. Pages that the processes share count in
each of them.

Run: python bench/memory.py [--model portraits] [--edits 200]
"""

from __future__ import annotations

import argparse
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

BARE = (
    "import torch; torch.ones(1); print(next(l for l in open('/proc/self/status') if 'VmHWM' in l))"
)
ROLES = {"redis": "redis-server", "service": "service.cli", "worker": "worker"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="portraits")
    parser.add_argument("--edits", type=int, default=200)
    arguments = parser.parse_args()
    bare = subprocess.run([sys.executable, "-c", BARE], check=True, capture_output=True, text=True)
    reference = peak_mib(bare.stdout)
    print(f"{arguments.model}, 1 inversion of 200 steps, {arguments.edits} edits")
    print(f"{'import torch':10}   {reference:8.0f} MiB   1.00")
    for role, peak in peaks_of_a_session(arguments.model, arguments.edits).items():
        print(f"{role:10}     {peak:8.0f} MiB   {peak / reference:.2f}")


def peaks_of_a_session(model: str, edits: int) -> dict[str, float]:
    """Run a session against a fresh `ni up`; peak MiB of each of its processes."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "service.cli", "up", "--port", str(port)]
        stack = subprocess.Popen(
            [*command, "--data-dir", directory], stdout=subprocess.PIPE, text=True
        )
        try:
            assert stack.stdout is not None
            for line in stack.stdout:
                if "Ctrl-C" in line:
                    break
            use(f"http://127.0.0.1:{port}", model, edits)
            return {role: peak_mib(status) for role, status in statuses(stack.pid).items()}
        finally:
            stack.send_signal(signal.SIGINT)
            stack.wait()


def use(address: str, model: str, edits: int) -> None:
    with httpx.Client(base_url=address, timeout=600) as client:
        sample = client.post("/latents", json={"model": model, "seed": 1, "psi": 0.7})
        sample.raise_for_status()
        picture = client.get(f"/latents/{sample.json()['id']}/image")
        job = client.post(
            "/invert",
            files={"image": ("sample.png", picture.content, "image/png")},
            data={"model": model, "steps": "200"},
            headers={"Prefer": "wait=300"},
        )
        job.raise_for_status()
        latent = job.json()["result"]["latents"][0]["id"]
        for number in range(edits):
            weights = {"0": (number % 21 - 10) / 5}
            client.post("/edit", json={"latent": latent, "weights": weights}).raise_for_status()


def statuses(parent: int) -> dict[str, str]:
    """Text of /proc/PID/status of the children of a process, by their role."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text()
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if f"PPid:\t{parent}\n" in status:
            role = next((r for r, part in ROLES.items() if any(part in w for w in words[:4])), None)
            found[role or words[0]] = status
    return found


def peak_mib(status: str) -> float:
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None, status
    return int(match[1]) / 1024


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
