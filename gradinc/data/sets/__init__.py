"""Data sets: one file each, chosen by `data=<name>`."""
