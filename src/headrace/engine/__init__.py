"""The only loops: they move messages, own processes and commit. Decisions are made in `runs` and `streams`.

Here live the engine's loop, its lookout, the loader of user code and the supervisor of processes. Not here: SQL,
statistics, anything that imports user code in the engine's own process. May import every pure room and `ports`.
"""
