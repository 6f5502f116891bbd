"""Many runs of one command: shipped composed to worker processes, here or on other machines."""
