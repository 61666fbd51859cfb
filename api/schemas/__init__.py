"""Wire models, one file per feature."""
