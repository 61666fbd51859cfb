"""Who calls: accounts, passwords, tokens, scopes."""
