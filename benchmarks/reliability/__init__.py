"""What becomes of the watch when it is killed, or runs twice: real processes, real receivers."""
