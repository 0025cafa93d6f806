"""What a loaded project consists of, as plain frozen data: all that engine, workers, CLI and simulator know of it.

Not here: how it is written (`graph`, `data`). Imports nothing but `base`.
"""
