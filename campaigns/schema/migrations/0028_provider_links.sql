-- additive
-- Whom a provider of OpenID Connect may let in: a link that somebody made, of a person of the desk and the provider's own
-- name for that person (`iss` and `sub` of its tokens). The release before knows nothing of it, and goes on.

ALTER TABLE desk_user
    ADD COLUMN oidc_issuer text,
    ADD COLUMN oidc_subject text,
    ADD CONSTRAINT desk_user_oidc_whole CHECK ((oidc_issuer IS NULL) = (oidc_subject IS NULL)),
    ADD CONSTRAINT desk_user_oidc_once UNIQUE (oidc_issuer, oidc_subject);
