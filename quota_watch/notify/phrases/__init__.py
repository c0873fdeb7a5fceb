"""What is said of each rule: one module for what belongs together. All of it is pure."""
