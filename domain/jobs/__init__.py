"""The job ledger: every piece of work, from the moment it was accepted to its end."""
