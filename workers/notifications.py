"""The pool `notifications`: one short function per command."""

from domain.bootstrap import Services
from domain.jobs.models import Claimed
from domain.notifications.commands import FanOut, FanOutPart, SendMail
from domain.notifications.webhooks.commands import RedeliverWebhooks, SendWebhook, TryWebhook
from workers.handles import Result, handles


@handles(SendMail, pool="notifications")
async def mail(services: Services, command: SendMail, job: Claimed) -> Result:
    """Written and handed to the mail server."""
    return await services.post.send(command.event_id, job)


@handles(FanOut, pool="notifications")
async def fan_out(services: Services, command: FanOut, job: Claimed) -> Result:
    """Split into parts, a job for each."""
    del job
    return await services.fan_outs.split(command.event_id)


@handles(FanOutPart, pool="notifications")
async def fan_out_part(services: Services, command: FanOutPart, job: Claimed) -> Result:
    """Everybody of the part told, once."""
    del job
    return await services.fan_outs.tell(command.event_id, command.part)


@handles(SendWebhook, pool="notifications")
async def webhook(services: Services, command: SendWebhook, job: Claimed) -> Result:
    """One attempt; another later where the endpoint did not take it."""
    return await services.webhooks.sending.send(command, job)


@handles(TryWebhook, pool="notifications")
async def test_webhook(services: Services, command: TryWebhook, job: Claimed) -> Result:
    """One attempt, and no other."""
    return await services.webhooks.sending.try_out(command, job)


@handles(RedeliverWebhooks, pool="notifications")
async def redeliver_webhooks(services: Services, command: RedeliverWebhooks, job: Claimed) -> Result:
    """A job for each event that is sent again."""
    return await services.webhooks.redelivery.run(command, job)
