"""How fast Headrace is: one scenario per file, run by `python -m benchmarks.run`; figures are JSON lines."""
