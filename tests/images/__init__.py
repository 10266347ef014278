"""Tests of palette_bench.images."""
