"""The projects that the engines of the scenarios serve; each file is copied into a folder of its own."""
