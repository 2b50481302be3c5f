"""What each carrier sends and how it ends."""

from deploy.grafana.panels import Ask, Board, Panel, Row
from deploy.grafana.shared import ACCOUNTS, ANSWER, CAMPAIGNS, EVERY_MESSAGE, RATE, SILENCE, TOLD_LATER

INTAKE = Board(
    "intake",
    "intake per carrier",
    "What each carrier and account sends, how it ends, how it is read, and what is kept for a person.",
    [
        Row(
            "Callbacks",
            [
                Panel(
                    "Callbacks per second, by account",
                    "Every callback, whatever became of it. Account `unknown` is whoever named an account that does "
                    "not exist.",
                    "reqps",
                    [
                        Ask(
                            f"sum by (account) (rate(portal1400_callbacks_total{{{ACCOUNTS}}}[{RATE}]))",
                            "{{account}}",
                        )
                    ],
                ),
                Panel(
                    "Callbacks per second, by outcome",
                    "How callbacks ended, for the chosen accounts. Many duplicates mean that a carrier repeats "
                    "because it does not see our answers.",
                    "reqps",
                    [
                        Ask(
                            f"sum by (outcome) (rate(portal1400_callbacks_total{{{ACCOUNTS}}}[{RATE}])) > 0",
                            "{{outcome}}",
                        )
                    ],
                ),
                TOLD_LATER,
                ANSWER,
                SILENCE,
                Panel(
                    "Accounts that cannot serve",
                    "Accounts of which a worker has no secret, and those of which one of several is missing. "
                    "`/readyz` names the variable or the file.",
                    "locale",
                    [
                        Ask("1 - min by (account) (portal1400_account_usable)", "{{account}} cannot serve"),
                        Ask("max by (account) (portal1400_account_secrets_missing)", "{{account}} lacks secrets"),
                    ],
                    red=1,
                ),
            ],
        ),
        Row(
            "How messages are read",
            [
                Panel(
                    "Messages not counted",
                    "Share of all messages that no campaign counts, because of their text or because they came "
                    "before or after its window, by reason. Look at it in the first minutes after a launch.",
                    "percentunit",
                    [
                        Ask(
                            f"sum by (reason) (rate(portal1400_uncounted_messages_total[{RATE}])) "
                            f"/ on () group_left () sum({EVERY_MESSAGE})",
                            "{{reason}}",
                        )
                    ],
                    orange=0.1,
                    red=0.2,
                ),
                Panel(
                    "Wrong syntax per carrier",
                    "Share of each carrier's messages whose keyword was right and the rest was not. If one carrier "
                    "stands out, it damages texts on the way; if all rise together, it is the advertisement.",
                    "percentunit",
                    [
                        Ask(
                            "sum by (carrier) (rate(portal1400_uncounted_messages_total"
                            f'{{reason="wrong_syntax"}}[{RATE}])) / {EVERY_MESSAGE}',
                            "{{carrier}}",
                        )
                    ],
                    orange=0.2,
                ),
                Panel(
                    "Times that messages bear",
                    "Messages whose own time lies ahead of their arrival, or well behind it, per second. An account "
                    "with many has a wrong clock, or sends what was held up; windows are decided by that time.",
                    "short",
                    [
                        Ask(
                            f"sum by (account, time) (rate(portal1400_message_times_total{{{ACCOUNTS}, "
                            f'time!="near"}}[{RATE}]))',
                            "{{account}} {{time}}",
                        )
                    ],
                ),
                Panel(
                    "Units per message",
                    "How many units a counted message carries in the mean, per carrier. A jump is an advertisement "
                    "that changed, or texts that are read in another way.",
                    "short",
                    [
                        Ask(
                            f"sum by (carrier) (rate(portal1400_units_total{{{CAMPAIGNS}}}[{RATE}])) "
                            f"/ sum by (carrier) (rate(portal1400_messages_total{{{CAMPAIGNS}}}[{RATE}]))",
                            "{{carrier}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "For a person to look at",
            [
                Panel(
                    "Quarantine",
                    "Callbacks kept for a person in the last five minutes, by protocol and reason: malformed ones, "
                    "wrong signatures from a carrier's own network, and events the database would not take.",
                    "short",
                    [
                        Ask(
                            "sum by (adapter, reason) (increase(portal1400_quarantined_total[5m]))",
                            "{{adapter}} {{reason}}",
                        )
                    ],
                ),
                Panel(
                    "Conflicts",
                    "Events of the last five minutes that brought other content under an id we hold. Both versions "
                    "are kept, the money stays as it was first told.",
                    "short",
                    [
                        Ask(
                            f"sum by (account) (increase(portal1400_conflicts_total{{{ACCOUNTS}}}[5m]))",
                            "{{account}}",
                        )
                    ],
                ),
                Panel(
                    "Refused",
                    "Callbacks that could not prove their sender, came too late, were too large or could not be "
                    "read, per second. Under `unknown` it is noise of the internet; under an account's name it may "
                    "be a changed secret.",
                    "reqps",
                    [
                        Ask(
                            f"sum by (account, outcome) (rate(portal1400_callbacks_total{{{ACCOUNTS}, "
                            f'outcome=~"unauthenticated|stale|malformed|too_large"}}[{RATE}])) > 0',
                            "{{account}} {{outcome}}",
                        )
                    ],
                ),
                Panel(
                    "No callback at all",
                    "Requests from the networks of carriers that lead to no account, per second and by why. A "
                    "carrier may be posting to a wrong address or in broken HTTP, and none of its gifts count.",
                    "reqps",
                    [
                        Ask(
                            f'sum by (kind) (rate(portal1400_turned_away_total{{peer="listed"}}[{RATE}])) > 0',
                            "{{kind}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "Replies to donors",
            [
                Panel(
                    "Replies by what became of them",
                    "Attempts to hand an SMS to a hub by a call of ours, per second. Refused, given up and in doubt "
                    "are not sent again; `portal1400 list replies` has each with its reason.",
                    "short",
                    [
                        Ask(
                            f"sum by (account, outcome) (rate(portal1400_replies_total{{{ACCOUNTS}}}[{RATE}])) > 0",
                            "{{account}} {{outcome}}",
                        )
                    ],
                ),
                Panel(
                    "Longest wait for a reply",
                    "How long the longest of an account's replies has been due. Intake does not wait for it; where "
                    "our reply is the charge, its gifts are in no total until then.",
                    "s",
                    [Ask(f"max by (account) (portal1400_replies_oldest_seconds{{{ACCOUNTS}}})", "{{account}}")],
                    orange=60,
                    red=300,
                ),
            ],
        ),
    ],
)
