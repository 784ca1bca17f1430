"""What can go wrong without being a defect."""


class AuditError(Exception):
    """Something a user can cause and mend.

    The message is one or two lines: the file, tensor or key, what was found there, what to do.
    Command lines print it without a traceback and exit 1; everything else is a defect and keeps its traceback.
    """


class Unaskable(Exception):
    """Why a model cannot be asked, in one line: the audit of its weights goes on
    without its answers.
    """
