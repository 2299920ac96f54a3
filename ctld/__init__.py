"""ctld: a framework for local control daemons.  One command set, many wires."""
