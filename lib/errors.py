"""The one error that is the reader's to mend."""


class UserError(Exception):
    """The input was wrong: one sentence that names the file or setting, and the mend.

    The command line prints it on standard error, without a traceback, and exits with code 2.
    """
