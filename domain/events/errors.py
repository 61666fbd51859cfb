"""What can go wrong with reading events."""

from domain.errors import Conflict


class SeqAhead(Conflict):
    """The reader's last `seq` is past the account's: it is another's, or the store was set back since."""

    code = "seq_ahead"
    message = "No event has this seq yet. Where the store was restored, begin again after last_seq."
