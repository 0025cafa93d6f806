"""The command line: thin commands that read the store, or ask the engine through its inbox.

Not here: rules, SQL, loops. A command's module is imported when the command is called. May import `app` and whatever
lies below it.
"""
