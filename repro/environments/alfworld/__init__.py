"""ALFWorld: text households in which one of six tasks is to be done."""
