"""The tables: migrations, partitions, and the locks of the cluster."""
