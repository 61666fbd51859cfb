"""What ops are told when something cannot be controlled."""

from domain.errors import Conflict, Unavailable


class NotAWorker(Conflict):
    """Only workers take jobs, so only they can be drained."""

    code = "not_a_worker"
    message = "Only a worker that lives can be drained."


class NobodyLeads(Unavailable):
    """No scheduler took the run up in time; it will not happen."""

    code = "nobody_leads"
    message = "No scheduler leads the timetable now. Nothing was run."
