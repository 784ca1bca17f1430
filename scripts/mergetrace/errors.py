"""The one exception a user can cause."""


class AuditError(Exception):
    """Something a user can cause and mend.

    The message is one or two lines: the file, tensor or key, what was found there, what to do.
    Command lines print it without a traceback and exit 1; everything else is a defect and keeps its traceback.
    """
