"""Tests of palette_bench.artifacts."""
