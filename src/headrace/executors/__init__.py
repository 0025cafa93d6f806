"""Where attempts run: own worker processes (`local`, `worker`), or this process (`inline`).

Not here: which attempt starts when (`runs`), and what a stored value looks like (`storage`). May import `base`, `data`,
`graph`, `runs`; storage, store and the project's code are given by the composition root.
"""
