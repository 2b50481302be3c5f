"""What every gift goes through: queue, commit, database, spool; and the processes."""

from deploy.grafana.panels import Ask, Board, Panel, Row
from deploy.grafana.shared import RATE, SPOOL, quantile

DATABASE = Board(
    "database",
    "database, spool and workers",
    "What every gift goes through: queue, commit, database, standbys, and the spool when they are away; and the "
    "processes.",
    [
        Row(
            "Commits",
            [
                Panel(
                    "Time of a commit",
                    "How long the database takes to store a batch. Callbacks wait for it, so it is the larger part "
                    "of the time to answer.",
                    "s",
                    [
                        Ask(quantile(0.5, "portal1400_commit_seconds"), "p50"),
                        Ask(quantile(0.99, "portal1400_commit_seconds"), "p99"),
                    ],
                    orange=0.25,
                ),
                Panel(
                    "Messages in a commit",
                    "How many messages share one commit. It grows with the load, which is how the service keeps up; "
                    "near PORTAL1400_BATCH_EVENTS_MAX it is at its limit.",
                    "short",
                    [
                        Ask(
                            f"sum(rate(portal1400_commit_batch_messages_sum[{RATE}])) "
                            f"/ sum(rate(portal1400_commit_batch_messages_count[{RATE}]))",
                            "mean",
                        ),
                        Ask(quantile(0.99, "portal1400_commit_batch_messages"), "p99"),
                    ],
                ),
                Panel(
                    "Queue, of what it may hold",
                    "How much of each worker's queue of events is taken. It is filled when the database is slower "
                    "than the carriers; from a quarter on the public side is shed.",
                    "percentunit",
                    [Ask("max_over_time(portal1400_queue_events[1m]) / portal1400_queue_events_max", "{{instance}}")],
                    orange=0.25,
                    red=0.75,
                ),
                Panel(
                    "Oldest in the queue",
                    "How long the callback that came first has waited for its commit. After "
                    "PORTAL1400_QUEUE_WAIT_SECONDS it goes into the spool and is acknowledged from there.",
                    "s",
                    [Ask("max_over_time(portal1400_queue_oldest_seconds[1m])", "{{instance}}")],
                    orange=0.5,
                ),
            ],
        ),
        Row(
            "Database",
            [
                Panel(
                    "Writers connected",
                    "Writers of each worker that are connected, of those there should be. At 0 callbacks are "
                    "acknowledged from the spool; see docs/outages.md.",
                    "percentunit",
                    [Ask("portal1400_writers_connected / portal1400_writers", "{{instance}}")],
                    red=0.5,
                    falls=True,
                ),
                Panel(
                    "Pool for reads",
                    "Connections in use, of those the pool may have, and reads that wait for one. Who waits longer "
                    "than five seconds is told that the database is away.",
                    "short",
                    [
                        Ask('portal1400_pool_connections{state="busy"}', "{{instance}} busy"),
                        Ask("portal1400_pool_waiting", "{{instance}} waiting"),
                        Ask("max(portal1400_pool_connections_max)", "at most"),
                    ],
                ),
                Panel(
                    "Size of the database",
                    "Everything the database holds, indexes too. A gift takes some kilobytes until its raw callback "
                    "is deleted, after PORTAL1400_RAW_RETENTION_DAYS.",
                    "bytes",
                    [Ask("max(portal1400_database_bytes)", "size")],
                    width=6,
                ),
                Panel(
                    "Sessions, of those there may be",
                    "Everybody's sessions on the database's server as a share of max_connections. At 1 nobody can "
                    "connect, and a writer that was lost cannot come back.",
                    "percentunit",
                    [Ask("max(portal1400_database_connections) / max(portal1400_database_connections_max)", "taken")],
                    width=6,
                    orange=0.75,
                    red=0.9,
                ),
                Panel(
                    "Standbys",
                    "Standbys that follow the database, by how commits wait for them. Where there should be a "
                    "synchronous one, no sync and no quorum means that one lost server loses gifts, or that commits "
                    "wait.",
                    "locale",
                    [Ask("max by (sync_state) (portal1400_standbys) > 0", "{{sync_state}}")],
                    width=6,
                ),
                Panel(
                    "Lag of the last standby",
                    "What the standby that is furthest behind has not on its disk yet. It is what a failover to it "
                    "would lose, where no commit waits for it.",
                    "bytes",
                    [Ask("max by (sync_state) (portal1400_standby_lag_bytes)", "{{sync_state}}")],
                    width=6,
                ),
                Panel(
                    "Clock beside the database's",
                    "How far each worker's clock is ahead of the database's, or behind it. Windows, days and the "
                    "freshness of signatures are told by clocks; above a minute `/readyz` says so.",
                    "s",
                    [Ask("abs(portal1400_clock_ahead_of_database_seconds)", "{{instance}}")],
                    width=24,
                    orange=5,
                    red=60,
                ),
            ],
        ),
        Row(
            "Spool and disks",
            [
                SPOOL,
                Panel(
                    "Oldest callback in the spool",
                    "How long the oldest of them has waited. It falls back to 0 when the last one is in the "
                    "database.",
                    "s",
                    [Ask("portal1400_spool_oldest_seconds", "{{instance}}")],
                    orange=60,
                ),
                Panel(
                    "Spool, of what it may hold",
                    "How much of each worker's spool is taken. Full, it takes nothing more, and carriers are told "
                    "to come later; PORTAL1400_SPOOL_BYTES_MAX sets it.",
                    "percentunit",
                    [Ask("portal1400_spool_bytes / portal1400_spool_max_bytes", "{{instance}}")],
                    orange=0.5,
                    red=0.9,
                ),
                Panel(
                    "Spool refuses",
                    "1 where a worker's spool would not take a callback now, and how many of its files cannot be "
                    "replayed. Both belong at 0, also while the database is well.",
                    "short",
                    [
                        Ask("1 - portal1400_spool_writable", "{{instance}} refuses"),
                        Ask("portal1400_spool_files_refused", "{{instance}} files"),
                    ],
                    red=1,
                ),
                Panel(
                    "Free on disks",
                    "Share of each disk that is free for this service: of the data folder, with the spool in it, "
                    "and of the embedded database. Your own database's disk is watched by whoever runs it.",
                    "percentunit",
                    [
                        Ask(
                            "min by (instance, folder) (portal1400_disk_free_bytes / portal1400_disk_size_bytes)",
                            "{{instance}} {{folder}}",
                        )
                    ],
                    orange=0.2,
                    red=0.1,
                    falls=True,
                ),
                Panel(
                    "Log lines waiting and lost",
                    "Lines that wait to be written, and lines per second that were lost because what reads the log "
                    "is gone, full or too slow. Callbacks are taken all the same.",
                    "short",
                    [
                        Ask("portal1400_log_lines_waiting", "{{instance}} wait"),
                        Ask(f"rate(portal1400_log_lines_lost_total[{RATE}])", "{{instance}} lost per second"),
                    ],
                ),
            ],
        ),
        Row(
            "Workers",
            [
                Panel(
                    "CPU",
                    "Cores that each worker uses. One is all that it can: near it a further worker helps, if "
                    "PostgreSQL leaves a core free.",
                    "short",
                    [Ask(f'rate(process_cpu_seconds_total{{job="portal1400"}}[{RATE}])', "{{instance}}")],
                    orange=0.8,
                ),
                Panel(
                    "Memory",
                    "Resident memory of each worker. A viewer costs some kilobytes, a campaign some too; what grows "
                    "for hours without more of them is worth a report.",
                    "bytes",
                    [Ask('process_resident_memory_bytes{job="portal1400"}', "{{instance}}")],
                ),
                Panel(
                    "Event loop late",
                    "How late each worker's event loop comes to what is due: the slowest hundredth, and the longest "
                    "of the last minute. Callbacks wait for as long.",
                    "s",
                    [
                        Ask(quantile(0.99, "portal1400_event_loop_lag_seconds", "instance"), "{{instance}} p99"),
                        Ask("portal1400_event_loop_stall_seconds", "{{instance}} longest"),
                    ],
                    orange=0.15,
                    red=1,
                ),
                Panel(
                    "Workers that ended",
                    "Workers that died or hung in the last ten minutes and were started again. Their connections "
                    "broke, and callbacks on them are repeated or asked for.",
                    "short",
                    [Ask("sum by (reason) (increase(portal1400_worker_restarts_total[10m]))", "{{reason}}")],
                    red=1,
                ),
                Panel(
                    "File descriptors, of those there may be",
                    "Share of the file descriptors that each worker may open. Every connection takes one; the limit "
                    "is the unit's LimitNOFILE.",
                    "percentunit",
                    [
                        Ask(
                            'process_open_fds{job="portal1400"} / process_max_fds{job="portal1400"}',
                            "{{instance}}",
                        )
                    ],
                    orange=0.75,
                ),
                Panel(
                    "Release",
                    "The running release and on how many workers it runs. Two at once is an upgrade that is still "
                    "under way.",
                    "locale",
                    [Ask("count by (version) (portal1400_build_info)", "{{version}}")],
                ),
            ],
        ),
    ],
)
