"""The folder of bundles: how one appears there whole, or not at all, and how it goes."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from ni_core.bundles.bundle import EMBEDDED
from ni_core.bundles.manifest import MANIFEST, NAME_PATTERN, read_manifest
from ni_core.errors import BrokenBundleError, InvalidInputError, UnknownModelError

_LOCK = ".lock"
_STAGED = ".importing-"
_REPLACED = ".replaced-"
_REMOVED = ".removed-"
"""Names that start with a dot are never those of bundles, so nobody lists them."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def find_bundle(name: str, directory: Path) -> Path:
    """Return the folder of a bundle: in the model directory, or an embedded one.

    Raises:
        UnknownModelError: There is no such bundle.
    """
    if NAME_PATTERN.fullmatch(name):
        for folder in (directory / name, EMBEDDED / name):
            if (folder / MANIFEST).is_file():
                return folder
    raise UnknownModelError(f"no model is called {name[:64]!r}", value=name[:64])


def broken_bundles(directory: Path) -> dict[Path, str]:
    """Folders in the model directory that should be bundles, and why they are not listed."""
    broken: dict[Path, str] = {}
    for folder in sorted(directory.iterdir()) if directory.is_dir() else ():
        if NAME_PATTERN.fullmatch(folder.name) and folder.is_dir():
            try:
                name = read_manifest(folder).name
            except BrokenBundleError as error:
                broken[folder] = str(error)
            else:
                if name != folder.name:
                    broken[folder] = f"its manifest calls it {name}"
    return broken


def check_name(name: str, directory: Path, *, replace: bool) -> None:
    """Refuse a name that no bundle may have, or that one has already.

    Raises:
        InvalidInputError: The name cannot be used.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidInputError(
            f"the name {name[:80]!r} is not of the form {NAME_PATTERN.pattern}: at most 64 small "
            "letters, digits, - and _",
            value=name[:80],
            limit=NAME_PATTERN.pattern,
        )
    taken = next((f for f in (directory / name, EMBEDDED / name) if _is_there(f)), None)
    if taken is not None and not replace:
        raise InvalidInputError(
            f"there is a model {name!r} already, in {taken}; choose another name, or replace it",
            value=name,
        )


@contextlib.contextmanager
def staged(directory: Path, name: str) -> Iterator[Path]:
    """Make a folder to build a bundle in; whatever is left in it at the end is deleted.

    Folders of imports that were killed are deleted first. The folder is locked while it is in use,
    so that imports that run at the same time leave each other's alone.

    Args:
        directory: The model directory, made if need be.
        name: The bundle to be.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory):
        _clean(directory)
        folder = directory / f"{_STAGED}{name}-{secrets.token_hex(4)}"
        folder.mkdir()
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def publish(folder: Path, name: str, *, replace: bool) -> Path:
    """Give a staged folder its name, in one step.

    Args:
        folder: From `staged`, on the disk in full.
        name: The bundle's name.
        replace: Whether a bundle of this name may go.

    Returns:
        The bundle's folder.

    Raises:
        InvalidInputError: Another import took the name meanwhile.
    """
    directory = folder.parent
    target = directory / name
    _sync(folder)
    with _locked(directory):
        check_name(name, directory, replace=replace)
        if _is_there(target):
            _swap(folder, target)
        else:
            folder.rename(target)
        _sync(directory)
    return target


def remove_bundle(name: str, directory: Path) -> None:
    """Remove a bundle from the model directory: first its name, then its files.

    Raises:
        InvalidInputError: It is an embedded one.
        UnknownModelError: There is no such bundle.
    """
    folder = directory / name
    ours = NAME_PATTERN.fullmatch(name) is not None and _is_there(folder)
    if not ours and find_bundle(name, directory).parent == EMBEDDED:
        raise InvalidInputError(f"{name} comes with the package and cannot be removed", value=name)
    with _locked(directory):
        gone = directory / f"{_REMOVED}{name}-{secrets.token_hex(4)}"
        with contextlib.suppress(FileNotFoundError):  # somebody else was faster
            folder.rename(gone)
        _sync(directory)
    _delete(gone)


def _clean(directory: Path) -> None:
    """Delete what killed imports and removals left, and bring back what was to be replaced."""
    for folder in directory.glob(f"{_REPLACED}*"):
        name = folder.name.removeprefix(_REPLACED).rpartition("-")[0]
        if _is_there(directory / name):
            _delete(folder)
        else:
            folder.rename(directory / name)
    for folder in directory.glob(f"{_REMOVED}*"):
        _delete(folder)
    for folder in directory.glob(f"{_STAGED}*"):
        if not _in_use(folder):
            _delete(folder)


def _in_use(folder: Path) -> bool:
    """Say whether a process holds the lock of a staged folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _swap(folder: Path, target: Path) -> None:
    """Exchange two folders; where the system cannot, there is a moment without the second."""
    if _exchange(folder, target):
        return
    old = target.parent / f"{_REPLACED}{target.name}-{secrets.token_hex(4)}"
    target.rename(old)
    folder.rename(target)
    _delete(old)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where that is not possible."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the model directory: for moments only, never while a model is read."""
    with (directory / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_there(folder: Path) -> bool:
    return folder.is_symlink() or folder.exists()


def _delete(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Wait until the disk has a folder's list of names."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
