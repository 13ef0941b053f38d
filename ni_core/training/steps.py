"""The table of `ni train all`: every part of the embedded bundle, in the order of its making."""

from __future__ import annotations

from dataclasses import dataclass, field

PORTRAITS = ("training/portraits/*.py", "training/picture_set.py")
NETWORKS = (
    "training/features.py",
    "training/regressor.py",
    "training/judge.py",
    "training/portraits/*.py",
)
GENERATOR = (
    "generators/modulated.py",
    "generators/mapping.py",
    "generators/stylegan2*.py",
    "training/adversar*.py",
    "training/generator.py",
    "training/optimiser.py",
    "training/recipes.py",
    "training/regressor.py",
    "training/portraits/*.py",
)
EXPORT = ("training/export.py", "generators/stylegan2*.py")
HALF_PRECISION = {"trunk": "trunk_features.safetensors", "judge": "judge_half.safetensors"}
"""What a bundle takes of a network."""

BUNDLE = ("generator.safetensors", "trunk.safetensors", "judge.safetensors", "manifest.json")
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
    chunks: str | None = None

    @property
    def is_network(self) -> bool:
        """Whether it trains a network beside the generator."""
        return self.module.endswith("features")


def _network(name: str, kind: str, rest: str, *inputs: str, out: str = "networks") -> Step:
    files = [f"{kind}.safetensors", f"{kind}.json"]
    files += [HALF_PRECISION[kind]] if kind in HALF_PRECISION else []
    return Step(
        name,
        "ni_core.training.features",
        f"--kind {kind} --data {{data}} --out {{out}}/{out} --resolution {{px}} "
        f"--test-pictures {{tests}} --device {{device}} --threads {{threads}} {rest}",
        inputs=inputs,
        outputs=tuple(f"{out}/{file}" for file in files),
        code=NETWORKS,
    )


def _figures(name: str, rest: str) -> Step:
    return Step(
        f"figures-{name}",
        f"ni_core.evaluation.{name}_report",
        f"--bundle {{out}}/draft --out {{out}}/figures/{name}.json "
        f"--device {{device}} --threads {{threads}} {rest}",
        inputs=("draft/*.safetensors",),
        outputs=(f"figures/{name}.json",),
        code=EVALUATION,
    )


def _export(name: str, rest: str, *inputs: str) -> Step:
    return Step(
        name,
        "ni_core.training.export",
        f"--checkpoint {{out}}/generator --features {{out}}/networks --networks "
        f"{{out}}/networks.json --version {{version}} --out {{out}}/{name} {rest}",
        inputs=("generator/checkpoint-*/*", "networks/*", "networks.json", *inputs),
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
    _network(
        "trunk-first", "trunk", "--pictures {criticised} --epochs {short} --seed 1", out="first"
    ),
    _network(
        "trunk",
        "trunk",
        "--pictures {set} --epochs {long} --seed 1 --start {out}/first/trunk.safetensors",
        "first/trunk.safetensors",
    ),
    _network("judge", "judge", "--pictures {judged} --epochs {reading} --seed 2"),
    Step(
        "generator",
        "ni_core.training.generator",
        "--data {data} --limit {limit} --critic {out}/networks/critic.safetensors "
        "--out {out}/generator --recipe {recipe} --pictures {pictures} --seconds {seconds} "
        "--resume --device {device} --threads {threads}",
        inputs=("networks/critic.safetensors",),
        outputs=("generator/checkpoint-*/checkpoint.json",),
        code=GENERATOR,
        progress=("--pictures", "--seconds", "--threads", "--device"),
        keeps="generator",
    ),
    _export("draft", ""),
    _figures("generator", "--samples {samples} --seed 1"),
    _figures("inversion", "--pictures {inverted} --steps {descent} --seed 1"),
    _figures("directions", "--k {k} --pictures {moved} --seed 1"),
    _export(
        "portraits",
        " ".join(
            f"--figures {{out}}/figures/{name}.json"
            for name in ("generator", "inversion", "directions")
        ),
        "figures/*.json",
    ),
)

SIZES: dict[str, dict[str, int | str]] = {
    "full": {
        "px": 64,
        "set": 27_648,
        "judged": 24_576,
        "criticised": 24_576,
        "limit": 24_576,
        "short": 5,
        "long": 8,
        "reading": 7,
        "tests": 2000,
        "recipe": "cpu",
        "pictures": 1_000_000,
        "samples": 2000,
        "inverted": 32,
        "descent": 200,
        "k": 12,
        "moved": 256,
        "version": 2,
    },
    "tiny": {
        "px": 32,
        "set": 256,
        "judged": 256,
        "criticised": 128,
        "limit": 64,
        "short": 2,
        "long": 1,
        "reading": 1,
        "tests": 64,
        "recipe": "tiny",
        "pictures": 64,
        "samples": 32,
        "inverted": 2,
        "descent": 4,
        "k": 2,
        "moved": 8,
        "version": 1,
    },
}
"""Numbers behind the braces: of the embedded bundle, and of one that exercises the code."""
