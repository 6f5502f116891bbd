"""The generator of the site: pages from the code, and the settings of Sphinx."""
