"""Bundles: a generator and the networks that belong to it, on disk and in memory."""

from ni_core.bundles.bundle import EMBEDDED, Bundle, load_bundle
from ni_core.bundles.cache import ModelCache
from ni_core.bundles.manifest import Manifest, read_manifest
from ni_core.bundles.tiny import write_tiny_bundle

__all__ = [
    "EMBEDDED",
    "Bundle",
    "Manifest",
    "ModelCache",
    "load_bundle",
    "read_manifest",
    "write_tiny_bundle",
]
