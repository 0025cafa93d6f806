"""The crash simulator: the real engine and the real store, with simulated time, workers, clients and faults.

What is not here: checking (that is `testing.auditor`, which shares no code with the engine). May import every room.
"""
