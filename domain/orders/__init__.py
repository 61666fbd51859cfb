"""Orders: placed in batches, paid, cancelled, expired."""
