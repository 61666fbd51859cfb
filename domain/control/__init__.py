"""Operating the platform: processes, pools that are paused, the timetable, and what needs attention."""
