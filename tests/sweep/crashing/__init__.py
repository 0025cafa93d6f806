"""The crash-point sweep: real engine, store and user code in one process, which fails at one boundary after the other."""
