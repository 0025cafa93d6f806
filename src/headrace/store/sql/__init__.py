"""The store on SQLite: `store` is the door, `commit` the one write verb, `project` makes rows, `reads` reads them."""
