"""Reports of runs: pages that need only a browser, without network."""
