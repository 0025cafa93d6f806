"""What one host gives to processes that share a project: kernel locks as rights, a doorbell to wake each other."""
