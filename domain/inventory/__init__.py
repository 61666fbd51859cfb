"""Stock per SKU and location: movements, and holds that reserve it."""
