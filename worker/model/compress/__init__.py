"""Make a network smaller: fewer pieces, layers and heads, taught by the full one, and what each step costs."""
