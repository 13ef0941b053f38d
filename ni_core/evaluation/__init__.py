"""Metrics and the quality reports."""
