-- additive
-- The SMS by which donors are answered. What a campaign's texts say may change at any time: of them nothing is counted.
ALTER TABLE campaign
    ADD COLUMN hotline text,
    ADD COLUMN reply_thank_you text,
    ADD COLUMN reply_wrong_form text,
    ADD COLUMN reply_closed text;

-- The replies that a call has to carry. A row is written in the statement that stores its message, so that there is one
-- exactly where a message is, once for ever; it holds neither number nor text, which lie sealed with the message.
--   due        to be sent from `due_at` on
--   sending    handed to a dispatcher: whoever finds it so without one cannot know whether the hub has it
--   accepted   the hub has it, and its charge is still to be recorded
--   sent       done
--   refused    the hub will not have it
--   given_up   tried until there was no sense in it any more
--   in_doubt   it may have been sent or not, and is not sent again
--   dropped    there was nothing to send: no text of this kind, or the donor's number is erased
CREATE TABLE reply (
    message_id uuid PRIMARY KEY,
    account_id integer NOT NULL,
    is_charged boolean NOT NULL,
    state text NOT NULL DEFAULT 'due' CHECK (
        state IN ('due', 'sending', 'accepted', 'sent', 'refused', 'given_up', 'in_doubt', 'dropped')
    ),
    attempts smallint NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    hub_id text,
    reason text
) WITH (fillfactor = 80);
CREATE INDEX reply_open ON reply (account_id, due_at) WHERE state IN ('due', 'sending', 'accepted');
CREATE INDEX reply_wanting ON reply (account_id, state) WHERE state IN ('refused', 'given_up', 'in_doubt');
