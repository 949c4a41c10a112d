"""What makes, composes and bounds effects. What runs them is native."""
