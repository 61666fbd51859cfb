"""Events on their way to people and other systems: inboxes, mail, webhooks."""
