"""`make bench`: Tidegate beside the usual way, in one run on the same servers, so that the ratio means something."""
