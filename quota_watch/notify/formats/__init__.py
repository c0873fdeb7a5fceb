"""What services want to be told, one module each; pure."""
