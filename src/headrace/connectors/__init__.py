"""Where rows come from and go to: the embedded log (`log`), and how rows become typed columns (`fitting`, `payloads`).

Not here: who reads when, what a stream does with rows. May import: the pure rooms, `ports` and `errors`.
"""
