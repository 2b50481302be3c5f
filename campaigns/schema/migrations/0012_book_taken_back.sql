-- What was applied by mistake can be taken back, and a version says what it changed, from which file and by whom.

-- From `book_version` on, the row is no longer part of the book. A campaign without a decision left is withdrawn.
CREATE TABLE decision_withdrawal (
    campaign_id integer NOT NULL,
    number smallint NOT NULL,
    book_version integer NOT NULL REFERENCES book_version,
    PRIMARY KEY (campaign_id, number),
    FOREIGN KEY (campaign_id, number) REFERENCES campaign_decision
);

CREATE TABLE route_withdrawal (
    route_id integer PRIMARY KEY REFERENCES route,
    book_version integer NOT NULL REFERENCES book_version
);

-- The keywords by which some message was read, whatever came of it: what stands here is no longer taken back.
-- Written in the statement that stores the messages.
CREATE TABLE keyword_read (
    campaign_id integer NOT NULL,
    short_code text NOT NULL,
    keyword text NOT NULL,
    CONSTRAINT keyword_read_once PRIMARY KEY (campaign_id, short_code, keyword)
);
INSERT INTO keyword_read (campaign_id, short_code, keyword)
SELECT DISTINCT campaign_id, short_code, keyword FROM message WHERE campaign_id IS NOT NULL AND keyword IS NOT NULL;

-- `takes_back`: nothing that was read by an earlier version is stored any more, it is read again first.
ALTER TABLE book_version
    ADD COLUMN takes_back boolean NOT NULL DEFAULT false,
    ADD COLUMN os_user text,
    ADD COLUMN applied_by text;

-- What a file said, secrets left out, by the SHA-256 of the file itself.
CREATE TABLE applied_file (
    sha256 bytea PRIMARY KEY,
    content text NOT NULL
);

-- Facts like the others: locked. A withdrawal is taken back by another row of the book, never by removing it.
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF campaign_id, number, book_version
    ON decision_withdrawal FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF route_id, book_version
    ON route_withdrawal FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF campaign_id, short_code, keyword
    ON keyword_read FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF sha256, content
    ON applied_file FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
DROP TRIGGER fact_lock ON book_version;
CREATE TRIGGER fact_lock BEFORE DELETE OR TRUNCATE OR UPDATE OF
    version, applied_at, file_sha256, changes, takes_back, os_user, applied_by
    ON book_version FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
