"""HTTP in, jobs out. No business rule lives here."""
