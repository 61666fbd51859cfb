"""What can go wrong with notifications."""

from domain.errors import Conflict


class TooManySubscriptions(Conflict):
    """The account has as many subscriptions as one may have."""

    code = "too_many_subscriptions"
    message = "The account has as many subscriptions as it may have. End one first."


class MailRefused(Conflict):
    """The mail server refused a message for good: `reason` is its answer. Jobs end with this."""

    code = "mail_refused"
    message = "The mail server refused the message."
