"""What is compared with what, how much of it is read, and what that costs."""
