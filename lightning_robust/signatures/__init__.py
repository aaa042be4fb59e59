"""What is measured: pure functions on tensors and metrics that accumulate them."""
