"""One file per stored form of a value. Each imports its library only when a value of that library is met.

Not here: the choice among them and the files (`storage.values`).
May import nothing of Headrace but `data` and `errors`.
"""
