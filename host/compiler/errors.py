"""The exceptions of the project, named by whose fault it is.

Every message is one paragraph: what is wrong, where (layer and source name, file and line),
the limit against the actual value, and what to do next. Commands print the message on stderr and
exit with `exit_code` (cli.md section 2.2); a traceback is shown only under `--debug`.
"""


class TpuforgeError(Exception):
    """Base of every error that is shown to a user as one paragraph."""

    exit_code = 1


class UserInputError(TpuforgeError):
    """A file, image, table or array that the user gave is missing, damaged or does not fit."""


class OptionError(TpuforgeError):
    """The command line (or the arguments of the Python function) contradicts itself."""

    exit_code = 2


class UnsupportedError(TpuforgeError):
    """A correct model uses something that this chip or this version can not do."""

    exit_code = 3


class DoesNotFitError(TpuforgeError):
    """A layer exceeds a limit of the chip however it is cut."""

    exit_code = 3


class InternalError(TpuforgeError):
    """A bug of ours: two stages disagree."""
