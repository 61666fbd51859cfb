"""What Stockyard knows and does, without HTTP, queues' consumers or a timetable."""
