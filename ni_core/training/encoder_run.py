"""The training of a compact encoder as one object that can be saved and resumed exactly.

Sources: pSp, arXiv:2008.00951; e4e, arXiv:2102.02766; ReStyle, arXiv:2104.02699. Differs from all
of them: half of the pictures or more are the generator's own samples, whose rows are known and
compared too, and the start is not random but `linear_start`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ni_core.encoders.compact import CompactEncoder
from ni_core.encoders.protocol import fit_input, fit_rendering
from ni_core.generators import Generator
from ni_core.images import grid
from ni_core.training.distortion import Distortion
from ni_core.training.encoder_batches import EncoderBatches
from ni_core.training.encoder_recipes import EncoderRecipe
from ni_core.training.in_flight import group_of
from ni_core.training.latent_critic import LatentAdversary
from ni_core.training.linear_start import begin_linearly
from ni_core.training.picture_streams import PictureStream
from ni_core.training.precision import mixed_precision
from ni_core.training.runs import (
    joined,
    optimiser_tensors,
    part_of,
    random_of,
    restore_optimiser,
)

CRITIC_ROWS = 128
"""Rows of each side in a step of the latent discriminator."""

SHOWN = 8
"""Pictures of each source on the sheet."""


class EncoderRun:
    """A training of a compact encoder; a `Run`.

    Args:
        recipe: How to train.
        generator: Frozen.
        distortion: Frozen.
        stream: Pictures beside the samples, of side `compared_px(generator)`; None for none.
        device: Where everything is.
    """

    def __init__(
        self,
        recipe: EncoderRecipe,
        generator: Generator,
        distortion: Distortion,
        stream: PictureStream | None,
        device: torch.device,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.kind, self.recipe, self.batch, self.seen = recipe.kind, recipe, recipe.batch, 0
        self.generator, self.distortion, self.device = generator, distortion, device
        shape = (recipe.input_px, recipe.input_px)
        self.batches = EncoderBatches(generator, stream, shape, recipe.seed)
        self.encoder = CompactEncoder(recipe.config(generator)).to(device)
        self.encoder.to(memory_format=torch.channels_last)
        self.encoder.w_avg.copy_(self.batches.spread.mean)
        self.encoder.basis.copy_(self.batches.spread.basis)
        self.average = copy.deepcopy(self.encoder).requires_grad_(False).eval()
        self.optimiser = torch.optim.AdamW(
            self._groups(), lr=0.0, betas=(0.9, 0.99), weight_decay=recipe.weight_decay, fused=True
        )
        self.adversary = (
            LatentAdversary(CRITIC_ROWS, generator.w_dim, device)
            if recipe.critic_coefficient
            else None
        )
        self.flight = self.batches.empty(self.batch)
        self._begun = False

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters with the factors of their learning rate.

        A step of Adam moves every weight by as much, and so the result of a layer by more the
        more numbers it reads: what reads all features goes slower.
        """
        slow = [*self.encoder.base.parameters(), *self.encoder.hidden.parameters()]
        fast = [*self.encoder.trunk.parameters(), *self.encoder.bends.parameters()]
        return [{"params": fast, "gain": 1.0}, {"params": slow, "gain": self.recipe.reading_gain}]

    def begin_from(self, weights: Mapping[str, Tensor]) -> list[str]:
        """Begin with another compact encoder's weights wherever their shapes fit.

        Deltas are not taken where they are let go one after another, and no constant offset where
        it would be added in every pass.

        Args:
            weights: By name.

        Returns:
            Names of the tensors that were taken.
        """
        ours = self.encoder.state_dict()
        kept = {"w_avg", "basis"} | ({"base.bias"} if self.encoder.needs_generator else set())
        taken = {
            name: weights[name].to(value, copy=True)
            for name, value in ours.items()
            if name not in kept and name in weights and weights[name].shape == value.shape
        }
        if self.recipe.progress and "bends.weight" in taken:
            for name in ("bends.weight", "bends.bias"):
                taken[name][self.encoder.w_dim :] = 0
        for network in (self.encoder, self.average):
            network.load_state_dict(taken, strict=False)
        self._begun = bool(taken)
        return list(taken)

    def _begin(self) -> None:
        """Begin with the best linear reading of samples."""
        recipe, perceptual = self.recipe, self.distortion.perceptual
        begin_linearly(self.encoder, perceptual, self.batches, n=recipe.fitted, seed=recipe.seed)
        self.average.load_state_dict(self.encoder.state_dict())

    def step(self) -> dict[str, Tensor]:
        """One step; see `Run`."""
        if self.seen == 0 and not self._begun:
            self._begin()
        number = self.seen // self.batch
        random = random_of(self.recipe.seed, number)
        self._refill(number, random)
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate_at(self.seen) * group["gain"]
        rows = self._encode()
        losses = self._train(rows, random)
        self.seen += self.batch
        self._average_weights()
        return losses

    def _encode(self) -> Tensor:
        """Rows after one more pass, in units of the spread of W."""
        flight = self.flight
        seen = fit_input(flight.targets, self.encoder.input_shape)
        inputs = self.encoder.inputs(seen, lambda: flight.shown)
        stage = self.recipe.stage(self.seen, self.encoder.num_layers - 1)
        self.encoder.train()
        with mixed_precision(self.device):
            found = self.encoder.rows(inputs.contiguous(memory_format=torch.channels_last), stage)
        return flight.guesses + found

    def _train(self, rows: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        flight, recipe = self.flight, self.recipe
        wrong = (rows - flight.truths).square().mean(dim=(1, 2)) * flight.known
        losses = {"latent": wrong.sum() / flight.known.sum().clamp_min(1)}
        images = self.batches.render(rows, fast=True)
        terms = self.distortion.measure(images, flight.targets)
        losses |= terms
        loss = recipe.latent_coefficient * losses["latent"] + self.distortion.total(terms)
        loss = loss + self._hold(rows, losses)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.encoder.parameters(), 1.0)
        self.optimiser.step()
        if self.adversary:
            codes = self.batches.codes(CRITIC_ROWS, random)
            losses |= self.adversary.step(codes, self._let_go(rows).flatten(0, 1), random)
        if self.encoder.needs_generator:
            self._go_on(rows, images)
        return {name: value.detach() for name, value in losses.items()}

    @torch.no_grad()
    def _go_on(self, rows: Tensor, images: Tensor) -> None:
        """Remember the guesses and their pictures for the next pass."""
        self.flight.guesses.copy_(rows)
        self.flight.shown.copy_(fit_rendering(images, self.encoder.input_shape))

    def _hold(self, rows: Tensor, losses: dict[str, Tensor]) -> Tensor:
        """What keeps rows near the codes of W, as in e4e."""
        loss = rows.new_zeros(())
        if self.recipe.delta_coefficient:
            losses["delta"] = (rows[:, 1:] - rows[:, :1]).norm(dim=2).mean()
            loss = loss + self.recipe.delta_coefficient * losses["delta"]
        if self.adversary:
            losses["adversary"] = self.adversary.encoder_loss(self._let_go(rows).flatten(0, 1))
            loss = loss + self.recipe.critic_coefficient * losses["adversary"]
        return loss

    def _let_go(self, rows: Tensor) -> Tensor:
        """The base, and the rows that have deltas of their own so far."""
        stage = self.recipe.stage(self.seen, self.encoder.num_layers - 1)
        return rows if stage is None else rows[:, : stage + 1]

    def _refill(self, number: int, random: torch.Generator) -> None:
        """Put fresh pictures in the places of those that are through."""
        places = group_of(number, self.batch, self.recipe.iterations)
        n = len(range(self.batch)[places])
        fresh = self.batches.draw(n, random, others=n // 2, mixing=self.recipe.mixing)
        self.flight.replace(places, fresh)

    @torch.no_grad()
    def _average_weights(self) -> None:
        kept = 0.5 ** (self.batch / max(1.0, min(self.recipe.average, self.seen / 10)))
        ours = self.encoder.state_dict()
        for name, average in self.average.state_dict().items():
            if average.is_floating_point():
                average.lerp_(ours[name], 1 - kept)
            else:
                average.copy_(ours[name])

    def tensors(self) -> dict[str, Tensor]:
        """See `Run`."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "encoder": self.encoder.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": optimiser_tensors(self.optimiser),
            "flight": self.flight.tensors(),
        }
        if self.adversary:
            parts["adversary"] = self.adversary.tensors()
        return joined(parts)

    def resume(self, seen: int, tensors: Mapping[str, Tensor]) -> None:
        """See `Run`."""
        self.seen = seen
        self.encoder.load_state_dict(part_of(tensors, "encoder"))
        self.average.load_state_dict(part_of(tensors, "average"))
        restore_optimiser(self.optimiser, part_of(tensors, "optimiser"))
        self.flight.resume(part_of(tensors, "flight"))
        if self.adversary:
            self.adversary.resume(part_of(tensors, "adversary"))

    @torch.no_grad()
    def sheet(self) -> Tensor:
        """Targets above their reconstructions by the averaged weights: renders, then samples."""
        random = random_of(self.recipe.seed, 0, stream=2)
        targets = self.batches.draw(2 * SHOWN, random, others=SHOWN).targets
        return grid(torch.cat([targets, self.reconstruct(targets)]), 2 * SHOWN)

    @torch.no_grad()
    def pictures(self, w_plus: Tensor) -> Tensor:
        """Pictures of rows of W+ as they are compared, in [-1, 1]."""
        parts = w_plus.split(16)
        return torch.cat([self.batches.render_w_plus(part).clamp(-1, 1) for part in parts])

    def reconstruct(self, targets: Tensor) -> Tensor:
        """What the averaged weights make of pictures."""
        return self.pictures(self.average.encode(targets, self.generator))
