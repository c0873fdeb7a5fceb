"""What quota-watch knows of quotas: pure values and functions, no clock, no I/O, no logging."""
