"""Search for the values of a run's options, on data that the result is not measured on."""
