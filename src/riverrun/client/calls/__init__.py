"""Every operation of the REST interface that the SDK and the command line use, as functions that give calls; by noun."""
