"""One file for each part of the golden reference data; each compares ours with it and reports rows."""
