"""The errors a person sees: one clear message, an exit code, no traceback."""


class SparkvaultError(Exception):
    """Something failed. ``what`` went wrong, and ``remedy``: what to do about it. Exit code 1."""

    exit_code = 1

    def __init__(self, what: str, remedy: str | None = None) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(what if remedy is None else f"{what}\n{remedy}")


class UsageError(SparkvaultError):
    """The command was used wrongly: bad arguments, a missing file, a refused configuration. Exit code 2."""

    exit_code = 2


class NotAvailable(SparkvaultError):
    """What was asked for is not there: nothing deployed, no cluster up, a target without that ability."""


class WaitTimeout(SparkvaultError):
    """Something that was waited for did not happen in time."""

    def __init__(self, waited_for: str, seconds: float, remedy: str | None = None) -> None:
        super().__init__(f"waited {seconds:.0f} s for {waited_for}, in vain", remedy)
