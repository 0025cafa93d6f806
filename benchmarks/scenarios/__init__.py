"""The scenarios. Each module has `measure(plan, limits)`, which gives its results one after the other."""
