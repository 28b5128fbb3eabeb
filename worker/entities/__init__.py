"""Surface forms to canonical ids: the alias table, and the linker that gives mentions their ids."""
