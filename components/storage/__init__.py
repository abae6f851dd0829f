"""Files and folders, local or remote."""
