"""Benchmarks: a module an area, each with ``run() -> str``, a section of Markdown. Never run by the tests."""
