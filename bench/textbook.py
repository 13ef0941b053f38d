"""Synthesis and descent step of a full-width StyleGAN2 against the plain formulation.

The plain one scales the weights of each sample and convolves in one group for each sample, as the
papers write it and public code runs it on a CPU; its filters are depthwise convolutions. It is the
formulation that the tests compare our network with. A step is synthesis, LPIPS, gradient to W+ and
Adam; the plain one measures both pictures with the unmodified lpips package, ours the target once.
Weights are random and the same on both sides. Both sides run in turns and the medians of their CPU
time are compared, so a busy machine favours neither. Goal: at least 1.5 times as fast.

Run: python -m bench.textbook [--resolution 256] [--rounds 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ni_core.generators import StyleGAN2, StyleGAN2Config
from ni_core.perceptual import Perceptual, embedded_distance, load_perceptual
from tests.ni_core.generators.textbook import Textbook
from tests.ni_core.trunks import random_trunk

WIDTHS = (512, 512, 512, 512, 512, 256, 128, 64, 32)
"""Channels at 4, 8, ..., 1024 px of the published networks."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = random_generator(arguments.resolution)
    textbook = Textbook(generator.config, generator.state_dict())
    trunk = random_trunk("squeeze")
    perceptual = load_perceptual(trunk, architecture="squeeze", name="random", calibrated=True)
    print(f"{arguments.resolution} px, {generator.config.channels} channels, 1 thread, CPU time")
    for n in arguments.batches:
        w_plus = torch.randn(n, generator.num_layers, generator.w_dim)
        show_synthesis(generator, textbook, w_plus, arguments.rounds)
        show_step(generator, textbook, perceptual, w_plus, arguments.rounds)


def show_synthesis(generator: StyleGAN2, textbook: Textbook, w_plus: Tensor, rounds: int) -> None:
    with torch.no_grad():
        theirs, ours = in_turns(
            lambda: textbook.synthesize(w_plus), lambda: generator.synthesize(w_plus), rounds
        )
        difference = generator.synthesize(w_plus) - textbook.synthesize(w_plus)
    show(f"synthesis, batch {len(w_plus)}", theirs, ours)
    print(f"{'':22} pictures differ by {difference.abs().max():.1e} at most")


def show_step(
    generator: StyleGAN2, textbook: Textbook, perceptual: Perceptual, w_plus: Tensor, rounds: int
) -> None:
    with torch.no_grad():
        target = generator.synthesize(w_plus.flip(1))
        features = perceptual.features(target)
    plain = Step(textbook, w_plus, lambda image: perceptual.network(image, target).flatten())
    our = Step(
        generator,
        w_plus,
        lambda image: embedded_distance(perceptual.features(image), features),
    )
    gradients = plain.gradient(), our.gradient()
    theirs, ours = in_turns(plain, our, rounds)
    show(f"step, batch {len(w_plus)}", theirs, ours)
    difference = (gradients[0] - gradients[1]).abs().max() / gradients[0].abs().max()
    print(f"{'':22} gradients differ by {difference:.1e} of the largest")


class Step:
    """One step of a descent in W+."""

    def __init__(
        self, side: StyleGAN2 | Textbook, start: Tensor, loss: Callable[[Tensor], Tensor]
    ) -> None:
        self.side = side
        self.loss = loss
        self.w_plus = start.clone().requires_grad_()
        self.optimizer = torch.optim.Adam([self.w_plus], lr=0.01)

    def gradient(self) -> Tensor:
        distance = self.loss(self.side.synthesize(self.w_plus))
        return torch.autograd.grad(distance.sum(), self.w_plus)[0]

    def __call__(self) -> None:
        self.w_plus.grad = self.gradient()
        self.optimizer.step()


def in_turns(
    first: Callable[[], Any], second: Callable[[], Any], rounds: int
) -> tuple[float, float]:
    """Median CPU seconds of both, after one call of each that is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for call, found in zip((first, second), times, strict=True):
            start = time.process_time()
            call()
            found.append(time.process_time() - start)
    return statistics.median(times[0][1:]), statistics.median(times[1][1:])


def show(name: str, theirs: float, ours: float) -> None:
    ratio = theirs / ours
    print(
        f"{name:22} plain {theirs:7.2f} s, ours {ours:7.2f} s, "
        f"{ratio:.2f} times as fast (goal >= 1.5)",
        flush=True,
    )


def random_generator(resolution: int) -> StyleGAN2:
    torch.manual_seed(0)
    widths = WIDTHS[: resolution.bit_length() - 2]
    generator = StyleGAN2(StyleGAN2Config(resolution, channels=widths))
    for layer in generator.layers:
        torch.nn.init.constant_(layer.noise_strength, 0.1)
    return generator.freeze()


if __name__ == "__main__":
    main()
