"""Benchmarks: ratios to a yardstick, measured side by side in one run; never a timed test."""
