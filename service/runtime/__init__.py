"""What every process of ours has: settings, logs, keys, tasks, files. Knows nothing of callbacks."""
