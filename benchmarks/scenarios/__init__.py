"""The scenarios. Each has `measure(bench)`, which gives its results, and `SOURCE` where it needs a served project."""
