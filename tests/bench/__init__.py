"""Benchmarks: one module per area, each with ``run() -> str``, a section of Markdown. The tests do not run them."""
