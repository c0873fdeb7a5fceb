"""The six steps, from poll to delivery."""
