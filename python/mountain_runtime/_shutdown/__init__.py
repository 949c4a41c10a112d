"""The settings of a shutdown, its steps and its report. What is closed, and in which order, is the runtime's."""
