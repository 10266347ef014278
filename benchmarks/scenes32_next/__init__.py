"""Version 2 of scenes32, beside version 1 until its networks are trained: generator, judge, and what they show."""
