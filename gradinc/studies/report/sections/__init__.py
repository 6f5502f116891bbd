"""The parts of a report, each made from the settings and runs that it is about."""
