"""From a row back to everything that it came from, and how that is told.

Not here: the queries themselves (`store.sql.reads`), how blobs become rows (`connectors.blob`). May import both, and the
pure rooms.
"""
