"""The public test kit: a fake clock, a store of its own for each test, and a harness for pipelines and streams."""
