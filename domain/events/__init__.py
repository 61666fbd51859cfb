"""What happened: stored with the change that made it true, then told to listeners."""
