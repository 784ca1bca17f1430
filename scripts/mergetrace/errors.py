"""What can go wrong without being a defect of this program."""


class AuditError(Exception):
    """An error that the user can fix.

    The message is one or two lines: the file, tensor or key, what was found there, what
    to do. Command lines print it without a traceback and exit 1; everything else is a
    defect and keeps its traceback. The subclasses say where the cause lies; where none
    of them fits, this class itself is raised.
    """


class ModelFileError(AuditError):
    """A model's files are broken, incomplete, or of a kind that cannot be audited."""


class TooManyBytesError(ModelFileError):
    """A model takes more bytes to read than may be asked for."""


class ConfigurationError(AuditError):
    """The audit is configured in a way that cannot be carried out."""


class NetworkError(AuditError):
    """A model cannot be reached: no network, no access, or a server that misbehaves."""


class Unaskable(Exception):  # noqa: N818, it ends no audit
    """Why a model cannot be asked, in one line: the audit of its weights goes on
    without its answers.
    """
