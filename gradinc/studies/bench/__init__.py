"""What gradinc costs: against the loop written by hand, and what each strategy costs."""
