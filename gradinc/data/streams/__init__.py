"""Streams of tasks: one file each, chosen by `stream=<name>`."""
