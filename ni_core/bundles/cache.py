"""ModelCache: each process loads a bundle once and keeps what fits."""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch

from ni_core.bundles.bundle import EMBEDDED, Bundle, load
from ni_core.bundles.manifest import MANIFEST, NAME_PATTERN, Manifest, read_manifest
from ni_core.errors import BrokenBundleError, UnknownModelError
from ni_core.generators import SPACES, read_config

Stamp = tuple[str, int, int]
"""Folder, time of change in ns and size of a manifest: a changed bundle is read anew."""


class ModelCache:
    """Bundles by name, bounded in bytes, each loaded once even under concurrent requests.

    Manifests are looked at on disk at each call, so a bundle that is added is found without a
    restart, one that is replaced is loaded anew, and one that is removed is dropped. Thread-safe.

    Attributes:
        loads: How many bundles were loaded from disk so far.
    """

    def __init__(
        self,
        directories: Sequence[Path] = (),
        *,
        capacity_bytes: int = 8 << 30,
        device: str | torch.device = "cpu",
    ) -> None:
        """Make an empty cache.

        Args:
            directories: Folders of bundles; an earlier one hides the names of a later one. The
                embedded bundles come last and are always found.
            capacity_bytes: The least recently used bundles are dropped beyond this; the newest
                one is always kept.
            device: Where to put the weights.
        """
        self._directories = [*directories, EMBEDDED]
        self._capacity_bytes = capacity_bytes
        self._device = device
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, tuple[Stamp, Future[Bundle]]] = OrderedDict()
        self._summaries: dict[str, tuple[Stamp, dict[str, Any]]] = {}
        self.loads = 0

    def names(self) -> list[str]:
        """Names of all bundles, sorted; one whose manifest is broken is left out."""
        with self._lock:
            self._drop_removed()
        return sorted(name for name, folder in self._folders().items() if _is_readable(folder))

    def summary(self, name: str) -> dict[str, Any]:
        """Say what a bundle is and can do, without loading its weights.

        Args:
            name: The bundle's name.

        Returns:
            JSON values: name, family, resolution, dimensions, spaces, methods, training, figures.

        Raises:
            UnknownModelError: There is no such bundle.
            BrokenBundleError: Its manifest cannot be read.
        """
        stamp = self._find(name)
        known = self._summaries.get(name)
        if known is None or known[0] != stamp:
            known = (stamp, _summarise(read_manifest(Path(stamp[0]))))
            self._summaries[name] = known
        return known[1]

    def get(self, name: str) -> Bundle:
        """Return a bundle, loading it if this process has not yet.

        Args:
            name: The bundle's name.

        Raises:
            UnknownModelError: There is no such bundle.
            BrokenBundleError: It cannot be read.
        """
        stamp = self._find(name)
        with self._lock:
            self._drop_removed(but=name)
            known = self._loaded.get(name)
            mine = known is None or known[0] != stamp
            future: Future[Bundle] = Future() if known is None or mine else known[1]
            self._loaded[name] = (stamp, future)
            self._loaded.move_to_end(name)
        if mine:
            self._fill(name, Path(stamp[0]), future)
        return future.result()

    def loaded(self) -> list[str]:
        """Names of the bundles in memory, the least recently used first."""
        with self._lock:
            return [name for name, (_, future) in self._loaded.items() if future.done()]

    @property
    def nbytes(self) -> int:
        """Memory of all loaded weights, in bytes."""
        with self._lock:
            return self._nbytes()

    def _fill(self, name: str, folder: Path, future: Future[Bundle]) -> None:
        try:
            bundle = load(read_manifest(folder), self._device)
        except BaseException as error:
            with self._lock:
                self._loaded.pop(name, None)
            future.set_exception(error)
            return
        future.set_result(bundle)
        with self._lock:
            self.loads += 1
            self._evict(keep=name)

    def _evict(self, keep: str) -> None:
        for name in list(self._loaded):
            if self._nbytes() <= self._capacity_bytes:
                return
            if name != keep and self._loaded[name][1].done():
                del self._loaded[name]

    def _nbytes(self) -> int:
        done = [future for _, future in self._loaded.values() if future.done()]
        return sum(future.result().nbytes for future in done if future.exception() is None)

    def _drop_removed(self, but: str | None = None) -> None:
        """Let go of bundles whose manifest is no longer there; one is known to be."""
        for name, (stamp, future) in list(self._loaded.items()):
            if name != but and future.done() and _stamp(stamp[0]) is None:
                del self._loaded[name]

    def _find(self, name: str) -> Stamp:
        """State of the first bundle of this name: a look at one file, not through the folders."""
        if NAME_PATTERN.fullmatch(name):
            for directory in self._directories:
                stamp = _stamp(f"{directory}/{name}")
                if stamp is not None:
                    return stamp
        names = self.names()
        raise UnknownModelError(
            f"model {name!r} is not one of {', '.join(names)}", value=name, limit=names
        )

    def _folders(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for directory in self._directories:
            if not directory.is_dir():
                continue
            for folder in directory.iterdir():
                if NAME_PATTERN.fullmatch(folder.name) and (folder / MANIFEST).is_file():
                    found.setdefault(folder.name, folder)
        return found


def _is_readable(folder: Path) -> bool:
    try:
        return read_manifest(folder).name == folder.name
    except BrokenBundleError:
        return False


def _stamp(folder: str) -> Stamp | None:
    """State of the manifest in a folder; None where there is none."""
    try:
        status = os.stat(f"{folder}/{MANIFEST}")
    except OSError:
        return None
    return (folder, status.st_mtime_ns, status.st_size) if stat.S_ISREG(status.st_mode) else None


def _summarise(manifest: Manifest) -> dict[str, Any]:
    # Imported here because both packages import Bundle from this one.
    from ni_core.directions import available_direction_methods
    from ni_core.inversion import available_methods, single_pass_methods

    config = read_config(manifest.generator.family, manifest.generator.config)
    return {
        "name": manifest.name,
        "version": manifest.version,
        "licence": manifest.licence,
        "family": manifest.generator.family,
        "fingerprint": manifest.fingerprint(),
        "resolution": manifest.resolution,
        "z_dim": config.z_dim,
        "w_dim": config.w_dim,
        "num_layers": config.num_layers,
        "num_classes": config.num_classes,
        "spaces": [space for space in SPACES if space in config.spaces],
        "methods": available_methods(manifest.parts),
        "features": manifest.features is not None,
        "single_pass": single_pass_methods(manifest.encoders),
        "direction_methods": available_direction_methods(manifest),
        "trunk": manifest.trunk.name,
        "domain": dict(manifest.domain),
        "source": dict(manifest.source),
        "training": dict(manifest.training),
        "figures": dict(manifest.figures),
    }
