"""The console: a web page for those who operate the platform, in a process of its own."""
