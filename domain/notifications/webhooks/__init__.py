"""Webhooks: events sent to endpoints that accounts, and the shop, have named."""
