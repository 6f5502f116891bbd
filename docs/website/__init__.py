"""The generator of the site: pages from the code, and the settings of Sphinx."""


class Incomplete(Exception):
    """Something public lacks the text that its page needs; the message names the file and what is missing."""
