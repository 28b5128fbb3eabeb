"""Do the promises hold? Recomputes from the logs what Redis must say, and looks for records without an outcome."""
