"""What a process stands on where it runs: kernel locks as rights, a doorbell to wake each other, the clock, and the logs
that it writes. Not here: what is decided, and the store itself.
"""
