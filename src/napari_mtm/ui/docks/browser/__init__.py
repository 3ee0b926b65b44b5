"""Finding sessions on servers and disks."""
