"""The log of what ops people did: who, what, to which thing, when and why. Kept for good."""
