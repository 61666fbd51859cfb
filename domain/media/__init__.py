"""Pictures: taken in, checked, made into renditions, delivered."""
