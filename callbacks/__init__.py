"""Lightning callbacks: when to measure, on which layer and images, under which tags to log."""
