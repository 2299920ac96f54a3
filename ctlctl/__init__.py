"""ctlctl: the command line for any daemon that speaks ctld's native protocol."""
