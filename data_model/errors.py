"""The errors DeepTracker raises: each says what was given, what is allowed and what to do."""


class DeepTrackerError(Exception):
    """Base of every error that DeepTracker raises on purpose."""


class NotARunError(DeepTrackerError):
    """The path holds no recorded run."""


class RunFormatError(DeepTrackerError):
    """The run is damaged, or was written by a newer format than this version reads."""


class NewerFormatError(RunFormatError):
    """A later version of DeepTracker wrote the run, in a format that this one does not read."""


class MissingFileError(RunFormatError):
    """A file of the run is not there although the run's root says that it was written."""


class RunAccessError(DeepTrackerError):
    """The operating system, or the store, refuses to read or write the run."""


class RunUnreachableError(RunAccessError):
    """The place of the run does not answer: the network, the server or its address."""


class RunReplacedError(DeepTrackerError):
    """Another run lies where this one was opened."""


class RunExistsError(DeepTrackerError):
    """A run is already recorded at the path."""


class RunLockedError(DeepTrackerError):
    """Another process is recording into the run."""


class RecordingError(DeepTrackerError):
    """What was handed to the recorder, or its disk, does not let it go on."""


class QueryError(DeepTrackerError, ValueError):
    """A query names something the run does not have, or a window that is no window."""


class AlertError(DeepTrackerError):
    """An alert cannot be sent to where it should go."""


class ExportError(DeepTrackerError):
    """An export cannot be written as it was asked for."""


class WorkersError(DeepTrackerError):
    """Work cannot be shared as it was asked for."""
