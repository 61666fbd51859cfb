"""What can go wrong with webhooks that we send."""

from domain.errors import Conflict, Invalid


class WebhookUrlRefused(Invalid):
    """The URL cannot be called. `reason`: form, scheme, credentials, port or address."""

    code = "webhook_url_refused"
    message = "Webhooks are not sent to such a URL."


class WebhookExists(Conflict):
    """There is an endpoint with this URL. `endpoint` is its id."""

    code = "webhook_exists"
    message = "There is an endpoint with this URL."


class TooManyWebhooks(Conflict):
    """There are as many endpoints as there may be."""

    code = "too_many_webhooks"
    message = "There are as many endpoints as there may be. Delete one first."


class TooManySecrets(Conflict):
    """So many replaced secrets still sign. `until` is when the first of them ends."""

    code = "too_many_secrets"
    message = "Too many replaced secrets still sign. Wait until one has ended."


class WebhookDisabled(Conflict):
    """The endpoint is disabled: nothing is sent to it."""

    code = "webhook_disabled"
    message = "The endpoint is disabled."


class WebhookUndelivered(Conflict):
    """The endpoint did not take the event. `status` or `error` is of the last attempt."""

    code = "webhook_undelivered"
    message = "The endpoint did not take the event."
