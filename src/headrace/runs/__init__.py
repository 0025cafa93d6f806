"""The run machine: what runs when, and every policy that starts, retries, publishes or promotes. Pure.

Events in, facts and commands out; no I/O, no clock. Not here: loops and processes (`engine`, `executors`), statistics
(`drift`, `models`). May import every pure room below it.
"""
