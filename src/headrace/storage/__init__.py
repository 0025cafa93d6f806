"""Stored values: where bytes lie (`local`), and how a Python value becomes bytes and comes back (`values`, `codecs/`).

Not here: which result is accepted (the engine) and what a row says about it (`store`).
May import `base`, `data`, `runs`.
"""
