"""Discounts: what they say, what they take off, and how their uses are counted."""
