"""Many runs, or finished ones: sweeps, searches, tables, reports, attacks and checks."""
