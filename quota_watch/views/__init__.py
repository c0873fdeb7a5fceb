"""What is known of organizations, read for commands, page and reports."""
