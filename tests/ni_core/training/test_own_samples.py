import torch

from ni_core.generators import tiny_generator
from ni_core.training.own_samples import FLOOR, draw_rows, spread_of
from ni_core.training.runs import random_of


def test_the_same_numbers_draw_the_same_codes() -> None:
    generator = tiny_generator()
    first, again, other = (draw_rows(generator, 4, random_of(1, step)) for step in (0, 0, 1))
    assert first.shape == (4, 6, 32)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first == first[:, :1]).all()


def test_mixing_takes_the_fine_rows_of_another_code() -> None:
    rows = draw_rows(tiny_generator(), 16, random_of(1, 0), mixing=1.0)
    others = rows.roll(1, dims=0)
    for row, other in zip(rows, others, strict=True):
        assert not torch.equal(row[0], row[-1])
        assert torch.equal(row[-1], other[0])
    halves = draw_rows(tiny_generator(), 64, random_of(1, 0), mixing=0.5)
    assert 16 < sum(not torch.equal(row[0], row[-1]) for row in halves) < 48


def test_standardised_codes_have_mean_0_and_at_most_variance_1() -> None:
    generator = tiny_generator()
    spread = spread_of(generator, random_of(1, 0))
    rows = spread.standardised(draw_rows(generator, 8192, random_of(2, 0)))[:, 0]
    assert rows.mean(dim=0).abs().max() < 0.1
    variances = torch.linalg.eigvalsh(torch.cov(rows.T))
    assert variances.max() < 1.1
    assert variances.max() > 1 / (1 + FLOOR) - 0.1


def test_the_basis_leads_back() -> None:
    generator = tiny_generator()
    spread = spread_of(generator, random_of(1, 0))
    rows = draw_rows(generator, 4, random_of(2, 0))
    back = spread.mean + spread.standardised(rows) @ spread.basis
    torch.testing.assert_close(back, rows, atol=1e-4, rtol=1e-4)
