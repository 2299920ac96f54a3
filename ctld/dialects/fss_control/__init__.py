"""The FSS control protocol: `control` programs that drive jobs."""
