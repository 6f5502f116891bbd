"""Many runs of one command: composed first, then sent to worker processes, here or on other machines."""
