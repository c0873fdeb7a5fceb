"""What is true of an organization, and what of that has to be sent."""
