"""The one exception that a user is meant to read."""


class ReproError(Exception):
    """Bad input or a broken precondition: the message says what was wrong, where, and what to do.

    The command line prints it without a traceback and exits with status 2.
    """
