"""Reference files of directions, and what the systems that wrote them make of them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ni_core.bundles import Bundle, load_bundle
from ni_core.bundles.importer import Sources, import_bundle
from ni_core.checkpoints.directions import read_directions
from ni_core.checkpoints.document import open_document
from ni_core.directions import Direction, find_directions, resolve_direction
from ni_core.editing import edit
from ni_core.errors import CheckpointError
from ni_core.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from ni_core.latents import Latent, decode_latent
from ni_core.layers import parse_layers
from tests.ni_core.checkpoints.cases import ABSENT, OPEN, largest_difference

DIRECTIONS = OPEN / "directions"
REAL_FILES = DIRECTIONS / "real_files"
GANSPACE_W = OPEN / "ganspace" / "style_w_ipca" / "stylegan2-ffhq_style_ipca_c12_n20000_w.npz"
GANSPACE_Z = OPEN / "ganspace" / "style_z_ipca" / "stylegan2-ffhq_style_ipca_c12_n20000.npz"
PCA = DIRECTIONS / "e4e_ganspace_narrow64" / "pca.pt"
CLOSED_FORM = DIRECTIONS / "rosinality_closed_form_narrow64" / "factor.pt"
ORDER = (PCA, CLOSED_FORM, GANSPACE_W, GANSPACE_Z)
FIRST = dict(zip(ORDER, (0, 10, 74, 86), strict=True))
"""Index of the first direction of each file, in a bundle that has them all."""

pytestmark = ABSENT


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The reference generator with the directions of all four files."""
    generator = OPEN / "rosinality_stylegan2" / "narrow64" / "checkpoint.pt"
    sources = Sources(generator=generator, directions=ORDER)
    directory = tmp_path_factory.mktemp("models")
    return load_bundle(import_bundle("narrow", sources, directory=directory).folder)


def arrays(path: Path) -> Mapping[str, Tensor]:
    with np.load(path) as content:
        return {key: torch.from_numpy(content[key]) for key in content.files}


def direction_of(bundle: Bundle, path: Path, index: int) -> Direction:
    return find_directions(bundle, "imported", k=98)[FIRST[path] + index]


def edited(
    bundle: Bundle, latent: Tensor, direction: Direction, weight: float, layers: str = "all"
) -> Tensor:
    """Rows of W+ of an edited w `[w_dim]` or w+ `[num_layers, w_dim]`."""
    generator = bundle.generator
    given = Latent(latent, "w" if latent.dim() == 1 else "w+", generator.fingerprint)
    rows = parse_layers(layers, generator.num_layers)
    return edit(given, {direction: weight}, generator=generator, layers=rows).tensor


def test_all_files_of_a_generator_become_its_directions(bundle: Bundle) -> None:
    found = find_directions(bundle, "imported", k=98)
    assert len(found) == 98
    for path, first in FIRST.items():
        assert found[first].source is not None and path.name in found[first].source
    assert [found[FIRST[path]].space for path in ORDER] == ["w", "w", "w", "z"]
    assert find_directions(bundle, "imported", k=1)[0].range == pytest.approx((-6, 6))


def test_pca_edits_of_e4e_are_reproduced(bundle: Bundle) -> None:
    """That system sets a coordinate, measured on row 0; the weight is what is left to go."""
    reference = arrays(PCA.parent / "edits.npz")
    pca = torch.load(PCA, weights_only=True)
    for number, target in enumerate(reference["edited"]):
        base = reference["base_wplus"][number // 2]
        index, start, end, strength = reference["edit_directions"][number % 2].tolist()
        component = pca["comp"][int(index), 0]
        coordinate = float((base[0] - pca["mean"][0]) @ component)
        weight = strength * float(pca["std"][int(index)]) - coordinate
        direction = direction_of(bundle, PCA, int(index))
        result = edited(bundle, base, direction, weight, f"{int(start)}-{int(end) - 1}")
        assert largest_difference(result, target) < 1e-5


@pytest.mark.parametrize(("index", "degree"), [(0, 5), (1, 5), (7, -3)])
def test_closed_form_edits_of_rosinality_are_reproduced(
    bundle: Bundle, index: int, degree: int
) -> None:
    """That system truncates after the edit, so the weight shrinks with psi."""
    reference = arrays(CLOSED_FORM.parent / "edits.npz")
    generator, direction = bundle.generator, direction_of(bundle, CLOSED_FORM, index)
    moved = torch.stack(
        [
            edit(
                Latent(w, "w", generator.fingerprint),
                {direction: 0.7 * degree},
                generator=generator,
                psi=0.7,
            ).tensor
            for w in reference["base_w"]
        ]
    )
    target = reference[f"img_const_idx{index}_deg{degree}_trunc0.7"]
    assert largest_difference(generator.synthesize(moved), target) < 1e-4


def test_closed_form_factors_are_our_sefa_of_the_same_weights(bundle: Bundle) -> None:
    """That system takes the first RGB output too and does not normalise the columns."""
    document = open_document(OPEN / "rosinality_stylegan2" / "narrow64" / "checkpoint.pt")
    weights = torch.cat(
        [
            tensor
            for key, tensor in document.root["g_ema"].items()
            if key.endswith("modulation.weight") and "to_rgbs" not in key
        ]
    )
    values = torch.linalg.svdvals(weights)
    reference = arrays(CLOSED_FORM.parent / "edits.npz")["singular_values"]
    torch.testing.assert_close(values, reference, rtol=1e-4, atol=0)
    for index in range(5):
        vector = direction_of(bundle, CLOSED_FORM, index).vector
        assert float((weights @ vector).norm()) == pytest.approx(float(values[index]), rel=1e-4)


@pytest.mark.parametrize(
    ("key", "rows", "edited_rows"),
    [("all", "0-8", range(8)), ("2-5", "2-5", range(1, 5)), ("0-2", "0-2", range(2))],
)
def test_sefa_of_e4e_is_reproduced(bundle: Bundle, key: str, rows: str, edited_rows: range) -> None:
    """That system factorises the rows that are named and edits those before them."""
    reference = arrays(DIRECTIONS / "e4e_sefa_narrow64" / "sefa.npz")
    eigenvalues = reference[f"{key}|eigen_values"].sort(descending=True).values
    found = find_directions(bundle, "sefa", rows, k=64)
    ours = torch.tensor([direction.eigenvalue for direction in found])
    torch.testing.assert_close(ours, eigenvalues, rtol=1e-4, atol=0)
    unsorted = reference[f"{key}|eigen_values"]
    ranks = [int((eigenvalues - value).abs().argmin()) for value in unsorted[:16]]
    pairs = zip(reference[f"{key}|boundaries"], ranks, strict=True)
    for boundary, rank in pairs:
        assert abs(float(found[rank].vector @ boundary)) > 1 - 1e-5
    base = reference["base_wplus"][0]
    targets = reference[f"{key}|edited_sem2_d-5_to_5_step3"]
    for semantic in range(2):
        direction = found[ranks[semantic]]
        sign = float(torch.sign(direction.vector @ reference[f"{key}|boundaries"][semantic]))
        for step, distance in enumerate((-5.0, 0.0, 5.0)):
            layers = f"{edited_rows[0]}-{edited_rows[-1]}"
            moved = edited(bundle, base, direction, sign * distance, layers)
            assert largest_difference(moved, targets[3 * semantic + step]) < 1e-4


@pytest.mark.parametrize(
    ("edit_key", "index", "layers", "sigma", "centered"),
    [
        ("comp0_layers0-10_sigma2", 0, "0-9", 2.0, False),
        ("comp2_layers1-5_sigma-3", 2, "1-4", -3.0, False),
        ("comp1_layers0-4_sigma2_centered", 1, "0-3", 2.0, True),
    ],
)
def test_ganspace_edits_in_w_are_reproduced(
    bundle: Bundle, edit_key: str, index: int, layers: str, sigma: float, centered: bool
) -> None:
    """A centred edit sets the coordinate; the weight is what is left to go."""
    reference = arrays(GANSPACE_W.parent / "edits.npz")
    components = arrays(GANSPACE_W)
    direction = direction_of(bundle, GANSPACE_W, index)
    rows = []
    for w in reference["base_w"]:
        weight = sigma * direction.range[1] / 3
        if centered:
            weight -= float((w - components["lat_mean"][0]) @ direction.vector)
        rows.append(edited(bundle, w, direction, weight, layers))
    moved = torch.stack(rows)
    assert largest_difference(moved, reference[f"wplus_{edit_key}"]) < 1e-5
    images = bundle.generator.synthesize(moved)
    assert largest_difference(images, reference[f"img_const_{edit_key}"]) < 1e-4


def test_ganspace_directions_in_z_move_z_before_the_mapping(bundle: Bundle) -> None:
    generator, direction = bundle.generator, direction_of(bundle, GANSPACE_Z, 0)
    assert direction.range == pytest.approx((-3, 3))
    z = torch.randn(64, generator=torch.Generator().manual_seed(0))
    latent = Latent(z, "z", generator.fingerprint)
    result = edit(latent, {direction: 2.0}, generator=generator, layers=(1, 2))
    moved, still = generator.map(torch.stack([z + 2 * direction.vector, z]))
    torch.testing.assert_close(result.tensor[1:3], moved.expand(2, -1))
    torch.testing.assert_close(result.tensor[3:], still.expand(7, -1))


@pytest.mark.parametrize("path", sorted(REAL_FILES.glob("*.[np][pt]*")), ids=lambda path: path.name)
def test_real_files_are_read_as_what_they_are(path: Path) -> None:
    known = {
        "e4e_ffhq_pca.pt": (80, (512,), None),
        "e4e_interfacegan_age.pt": (1, (512,), None),
        "e4e_interfacegan_pose.pt": (1, (18, 512), None),
        "pti_interfacegan_smile.pt": (1, (512,), None),
        "idinvert_age.npy": (1, (14, 512), (0, 1, 2, 3, 4, 5)),
        "idinvert_expression.npy": (1, (14, 512), (2, 3, 4, 5)),
        "idinvert_eyeglasses.npy": (1, (14, 512), (0, 1, 2)),
    }
    if path.name in known:
        number, shape, layers = known[path.name]
        found = read_directions(path)
        assert len(found) == number
        assert {tuple(one.vector.shape) for one in found} == {shape}
        assert {one.layers for one in found} == {layers} and {one.space for one in found} == {"w"}
    elif path.name.startswith("sefa"):
        with pytest.raises(CheckpointError, match="latent codes"):
            read_directions(path)
    elif path.suffix == ".npy":
        with torch.device("meta"):
            generator = StyleGAN2(StyleGAN2Config(1024, 512, 512, 8, (8,) * 9))
        assert decode_latent(path.read_bytes(), generator).space == "w+"


def test_files_that_people_have_are_read(shared: Path) -> None:
    lengths = {}
    for path in sorted((shared / "real" / "directions").glob("*")):
        found = read_directions(path)
        rows = found[0].vector.reshape(-1, 512)
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)), atol=1e-5, rtol=0)
        lengths[path.name] = len(found)
    assert sorted(lengths.values()) == [1] * 8 + [80, 80]


def test_an_id_finds_an_imported_direction_in_another_process(bundle: Bundle) -> None:
    other = load_bundle(bundle.manifest.folder)
    for index in (0, 12, 80, 97):
        direction = find_directions(bundle, "imported", "2-5", k=98)[index]
        again = resolve_direction(other, direction.id)
        assert again == direction and again.range == direction.range
        assert torch.equal(again.vector, direction.vector)
