"""One resource per file; each has a `router`."""
