"""What can go wrong before an event is touched, and the exit code that says so.

    TidegateError
    |-- UsageError            2  wrong arguments, settings, or schema: someone must change something
    `-- UnreachableError      3  Redis or Postgres did not answer: someone must start something

The text of each is one line that says what to do; the command line prints it without a traceback.
"""

from __future__ import annotations


class TidegateError(Exception):
    """Base of the errors that end a command with one clear line."""

    exit_code = 1


class UsageError(TidegateError):
    """Arguments, settings or schema are wrong. Repeating the command does not help; changing it does."""

    exit_code = 2


class UnreachableError(TidegateError):
    """A server did not answer within its limit."""

    exit_code = 3
