"""What the operating system knows of a process, as readings: CPU time, memory, input and output, connections."""
