"""What `import gradinc` gives: runs, sweeps and updates from Python. Imported by nobody else in the package."""
