"""Matrix products and attention in C++ for CPUs with matrix units (AMX), compiled at first use."""
