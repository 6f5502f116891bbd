"""One thin module for each command of the command line."""
