"""The table of `ni train all`: every part of the embedded bundle, in the order of its making."""

from __future__ import annotations

from dataclasses import dataclass, field

PORTRAITS = ("training/portraits/*.py", "training/picture_set.py")
NETWORKS = (
    "encoders/frozen.py",
    "encoders/residual.py",
    "training/features.py",
    "training/*regressor.py",
    "training/judge.py",
    "training/precision.py",
    "training/portraits/*.py",
)
GENERATOR = (
    "encoders/residual.py",
    "generators/modulated.py",
    "generators/mapping.py",
    "generators/stylegan2*.py",
    "training/adversar*.py",
    "training/fine_adversary.py",
    "training/generator.py",
    "training/optimiser.py",
    "training/own_samples.py",
    "training/precision.py",
    "training/recipes.py",
    "training/reconstruction.py",
    "training/*regressor.py",
    "training/portraits/*.py",
)
EXPORT = ("training/export.py", "bundles/parts.py", "generators/stylegan2*.py")
PART = (
    "encoders/*.py",
    "inversion/*.py",
    "landscapes.py",
    "objectives.py",
    "perceptual.py",
    *(
        f"training/{name}.py"
        for name in (
            "augmentations",
            "contrastive*",
            "curvature",
            "distortion",
            "encoder*",
            "factor_reading",
            "in_flight",
            "landscape*",
            "latent_*",
            "mapper*",
            "masks",
            "own_samples",
            "picture_streams",
            "precision",
            "ridge",
            "runs",
            "schedule",
            "trajectories",
        )
    ),
)
RESUMED = ("--pictures", "--seconds", "--threads", "--device", "--checkpoint-s")
"""Arguments of a learnt part that only say how far and where."""

LEARNING = (
    "--checkpoint-s {save_s} --seconds {seconds} --resume --device {device} --threads {threads}"
)
PARTS = ("psp", "restyle", "e4e", "mapper", "landscape")
"""Parts that are learnt for the finished generator, each in a folder of its name."""

READER_OPTION = "--part {out}/networks/reader"
PARTS_OPTIONS = " ".join((READER_OPTION, *(f"--part {{out}}/{part}" for part in PARTS)))
FROM_PSP = "--start {out}/psp/psp.safetensors"
COMPARED = ("generator", "trunk", "features")
"""Networks of the bundle by which a training compares pictures, and what makes them."""

FIGURES = ("generator", "inversion", "directions", "methods", "curve")
"""Evaluations whose figures go into the manifest."""

GUIDES = ("critic", "reader", "trunk_features")
"""Networks that look at the pictures while the generator is trained."""

HALF_PRECISION = {
    "trunk": ("trunk_features.safetensors",),
    "judge": ("judge_half.safetensors",),
    "reader": ("reader/features.safetensors", "reader/features.json"),
}
"""What a bundle takes of a network."""

BUNDLE = (
    *(f"{name}.safetensors" for name in ("generator", "trunk", "features", "judge")),
    "manifest.json",
)
EVALUATION = ("evaluation/*.py", "training/judge.py", "training/portraits/*.py")


@dataclass(frozen=True)
class Step:
    """One command of the chain.

    Attributes:
        name: Of its log and its stamp.
        module: Has `main(arguments)`.
        arguments: Of the command; braces are filled from the size and the options.
        inputs: Files it reads, as patterns below the folder of the chain.
        outputs: Files it leaves, likewise; each pattern must match.
        code: Source files that decide what it does, as patterns below `ni_core`.
        progress: Arguments that may change while what is there is continued.
        keeps: Folder with what an interrupted run can continue from.
        until: Pictures that such a run is to see, in braces.
        chunks: Pattern of the files that it adds to the folder of sets; such a step is left
            out where pictures are rendered on the fly.
    """

    name: str
    module: str
    arguments: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    progress: tuple[str, ...] = field(default=("--threads", "--device", "--seconds"))
    keeps: str | None = None
    until: str = "{pictures}"
    chunks: str | None = None

    @property
    def is_network(self) -> bool:
        """Whether it trains a network beside the generator."""
        return self.module.endswith("features")


def _network(name: str, kind: str, rest: str, *inputs: str, out: str = "networks") -> Step:
    files = [f"{kind}.safetensors", f"{kind}.json"]
    files += HALF_PRECISION.get(kind, ())
    return Step(
        name,
        "ni_core.training.features",
        f"--kind {kind} --data {{data}} --out {{out}}/{out} --resolution {{px}} "
        f"--test-pictures {{tests}} --device {{device}} --threads {{threads}} {rest}",
        inputs=inputs,
        outputs=tuple(f"{out}/{file}" for file in files),
        code=NETWORKS,
    )


def _part(name: str, module: str, rest: str, *inputs: str) -> Step:
    """A part that is learnt for the finished generator; its own folder keeps its checkpoints."""
    return Step(
        name,
        f"ni_core.training.{module}",
        f"--bundle {{out}}/draft --out {{out}}/{name} --seed 1 "
        f"--pictures {{{name}}} {LEARNING} {rest}",
        inputs=(*(f"draft/{name}.safetensors" for name in COMPARED), *inputs),
        outputs=(f"{name}/{name}.json", f"{name}/{name}.safetensors"),
        code=PART,
        progress=RESUMED,
        keeps=name,
        until=f"{{{name}}}",
    )


def _figures(name: str, rest: str, *, bundle: str = "draft", module: str | None = None) -> Step:
    return Step(
        f"figures-{name}",
        f"ni_core.evaluation.{module or f'{name}_report'}",
        f"--bundle {{out}}/{bundle} --out {{out}}/figures/{name}.json "
        f"--device {{device}} --threads {{threads}} {rest}",
        inputs=(f"{bundle}/*.safetensors",),
        outputs=(f"figures/{name}.json",),
        code=EVALUATION,
    )


def _export(name: str, rest: str, *inputs: str) -> Step:
    return Step(
        name,
        "ni_core.training.export",
        f"--checkpoint {{out}}/generator --features {{out}}/networks --networks "
        f"{{out}}/networks.json --version {{version}} --out {{out}}/{name} {rest}",
        inputs=(
            "generator/checkpoint-*/*",
            "networks/*",
            "networks/reader/*",
            "networks.json",
            *inputs,
        ),
        outputs=tuple(f"{name}/{file}" for file in BUNDLE),
        code=EXPORT,
    )


STEPS = (
    Step(
        "set",
        "ni_core.training.picture_set",
        "--out {data} --pictures {set} --seed 1 --resolution {px} --threads {threads}",
        code=PORTRAITS,
        chunks="portraits-1-{px}px-*.npy",
    ),
    Step(
        "set-judge",
        "ni_core.training.picture_set",
        "--out {data} --pictures {judged} --seed 2 --resolution {px} --threads {threads}",
        code=PORTRAITS,
        chunks="portraits-2-{px}px-*.npy",
    ),
    _network("critic", "critic", "--pictures {criticised} --epochs {short} --seed 1"),
    _network("reader", "reader", "--pictures {set} --epochs {fine} --seed 1"),
    _network(
        "trunk-first", "trunk", "--pictures {criticised} --epochs {short} --seed 1", out="first"
    ),
    _network(
        "trunk",
        "trunk",
        "--pictures {perceived} --epochs {long} --seed 1 --start {out}/first/trunk.safetensors",
        "first/trunk.safetensors",
    ),
    _network("judge", "judge", "--pictures {judged} --epochs {reading} --seed 2"),
    Step(
        "generator",
        "ni_core.training.generator",
        "--data {data} --limit {limit} --critic {out}/networks/critic.safetensors "
        "--reader {out}/networks/reader.safetensors "
        "--trunk {out}/networks/trunk_features.safetensors --out {out}/generator "
        "--recipe {recipe} --pictures {pictures} --seconds {seconds} --resume "
        "--device {device} --threads {threads}",
        inputs=tuple(f"networks/{name}.safetensors" for name in GUIDES),
        outputs=("generator/checkpoint-*/checkpoint.json",),
        code=GENERATOR,
        progress=("--pictures", "--seconds", "--threads", "--device"),
        keeps="generator",
    ),
    _export("draft", READER_OPTION),
    Step(
        "contrastive",
        "ni_core.training.contrastive",
        "--data {data} --resolution {px} --limit {limit} --out {out}/contrastive --seed 1 "
        f"--read {{reading_set}} --pictures {{contrastive}} {LEARNING}",
        outputs=("contrastive/features.safetensors",),
        code=PART,
        progress=RESUMED,
        keeps="contrastive",
        until="{contrastive}",
    ),
    _part(
        "psp",
        "encoders",
        "--kind psp --data {data} --fitted {fitted}",
    ),
    _part(
        "restyle",
        "encoders",
        f"--kind restyle --data {{data}} {FROM_PSP}",
        "psp/psp.safetensors",
    ),
    _part("e4e", "encoders", f"--kind e4e --data {{data}} {FROM_PSP}", "psp/psp.safetensors"),
    _part(
        "mapper",
        "mapper",
        "--samples {pairs} --renders {read} --features {out}/contrastive/features.safetensors",
        "contrastive/features.safetensors",
    ),
    _part("landscape", "landscape", "--data {data}"),
    _export("equipped", PARTS_OPTIONS, *(f"{part}/*" for part in PARTS)),
    _figures("generator", "--samples {samples} --seed 1"),
    _figures("inversion", "--pictures {inverted} --steps {descent} --seed 1"),
    _figures("directions", "--k {k} --pictures {moved} --seed 1"),
    _figures("methods", "--pictures {inverted} --steps {descent} --seed 1", bundle="equipped"),
    _figures(
        "curve",
        "--pictures {followed} --steps {curve} --seed 1",
        bundle="equipped",
        module="loss_curve",
    ),
    _export(
        "portraits",
        f"{PARTS_OPTIONS} "
        + " ".join(f"--figures {{out}}/figures/{name}.json" for name in FIGURES),
        *(f"{part}/*" for part in PARTS),
        "figures/*.json",
    ),
)
