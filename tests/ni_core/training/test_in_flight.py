import torch

from ni_core.training.in_flight import InFlight, group_of


def test_after_the_first_passes_a_batch_holds_as_many_pictures_of_every_pass() -> None:
    passes = torch.zeros(10, dtype=torch.long)
    for step in range(12):
        passes[group_of(step, 10, 5)] = 0
        passes += 1
        if step >= 4:
            assert passes.bincount().tolist() == [0, 2, 2, 2, 2, 2]


def test_an_encoder_of_one_pass_gets_a_fresh_batch_every_time() -> None:
    assert all(len(range(8)[group_of(step, 8, 1)]) == 8 for step in range(4))


def test_fresh_pictures_take_the_places_of_those_that_are_through() -> None:
    def flight(n: int, value: float) -> InFlight:
        return InFlight(
            targets=torch.full((n, 3, 4, 4), value),
            truths=torch.full((n, 2, 5), value),
            known=torch.full((n,), bool(value)),
            guesses=torch.full((n, 2, 5), value),
            shown=torch.full((n, 3, 2, 2), value),
        )

    old = flight(6, 0.0)
    old.replace(slice(1, 6, 3), flight(2, 1.0))
    for value in old.tensors().values():
        assert (
            value.flatten(1).float().mean(dim=1).tolist() == [0, 1, 0, 0, 1, 0]
            if (value.dim() > 1)
            else value.tolist() == [False, True, False, False, True, False]
        )
    other = flight(6, 0.0)
    other.resume(old.tensors())
    assert torch.equal(other.targets, old.targets)
