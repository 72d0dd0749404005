"""What adapters share: reading tables, JSON and folders, checking what they say, and finding the files they name."""
