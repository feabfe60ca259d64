"""What the axes of a tensor mean: stack, window, inputs, outputs."""
