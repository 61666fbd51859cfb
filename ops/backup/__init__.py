"""Backups of what Stockyard keeps: the documents of MongoDB and the objects of S3.

    FOLDER/
      20261122T182600Z/manifest.json     written last: a backup without it is none
      20261122T182600Z/store/*.bson.gz   one file per collection
      20261122T182600Z/objects.json.gz   which objects there were, one line each
      objects/ab/ab12...                 their bytes, shared by all backups of the folder

Redis and RabbitMQ are not backed up: neither holds anything that the store does not.
"""

from ops.backup.layout import BackupError, Manifest
from ops.backup.run import create, restore, taken

__all__ = ["BackupError", "Manifest", "create", "restore", "taken"]
