"""The status page: what is known now, for people in a browser and for machines."""
