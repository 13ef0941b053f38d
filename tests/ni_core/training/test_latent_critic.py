import torch

from ni_core.training.latent_critic import POOL_BATCHES, LatentAdversary, LatentPool
from ni_core.training.runs import random_of

CPU = torch.device("cpu")


def test_the_pool_forgets_its_oldest_batch_first() -> None:
    pool = LatentPool(2, 3, CPU)
    for number in range(POOL_BATCHES + 1):
        pool.add(torch.full((2, 3), float(number)))
    assert set(pool.draw(2000, random_of(0, 0)).unique().tolist()) == set(
        map(float, range(1, POOL_BATCHES + 1))
    )


def test_a_young_pool_gives_what_was_added_alone() -> None:
    pool = LatentPool(2, 3, CPU)
    pool.add(torch.ones(2, 3))
    assert torch.equal(pool.draw(8, random_of(0, 0)), torch.ones(8, 3))


def test_it_learns_to_tell_codes_from_what_an_encoder_made_up() -> None:
    torch.manual_seed(0)
    adversary = LatentAdversary(32, 4, CPU)
    for step in range(40):
        random = random_of(0, step)
        real, fake = torch.randn(32, 4, generator=random), 2 + torch.randn(8, 4, generator=random)
        losses = adversary.step(real, fake, random)
    assert losses["critic"] < 0.9
    far, near = torch.full((8, 4), 3.0), torch.zeros(8, 4)
    assert adversary.encoder_loss(near) < adversary.encoder_loss(far)


def test_the_encoders_loss_moves_rows_alone() -> None:
    adversary = LatentAdversary(4, 4, CPU)
    rows = torch.randn(8, 4, requires_grad=True)
    adversary.encoder_loss(rows).backward()
    assert rows.grad is not None
    assert all(weight.grad is None for weight in adversary.critic.parameters())


def test_it_goes_on_where_it_was_left() -> None:
    def trained(adversary: LatentAdversary, steps: range) -> LatentAdversary:
        for step in steps:
            random = random_of(0, step)
            fake = torch.randn(8, 4, generator=random)
            adversary.step(torch.randn(4, 4, generator=random), fake, random)
        return adversary

    def fresh() -> LatentAdversary:
        torch.manual_seed(0)
        return LatentAdversary(4, 4, CPU)

    straight = trained(fresh(), range(4))
    second = fresh()
    second.resume(trained(fresh(), range(2)).tensors())
    for name, value in trained(second, range(2, 4)).tensors().items():
        assert torch.equal(value, straight.tensors()[name]), name
