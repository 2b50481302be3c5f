"""The process: HTTP, wiring, settings, logs, command line, pages. It alone knows the other three packages."""
