"""Every answer of one or more runs as a folder that a browser opens from disk, or as one table."""
