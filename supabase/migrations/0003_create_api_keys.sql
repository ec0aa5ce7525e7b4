-- API keys. A key itself is never stored: only its SHA-256, by which it is found, and its first characters, by which
-- a person recognises it. A key has 192 random bits, so a fast hash is enough: there is nothing to guess.

create table treeline.api_keys (
    tenant_id uuid not null references treeline.tenants (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    name text not null check (char_length(name) between 1 and 200),
    prefix text not null check (char_length(prefix) between 4 and 16),
    key_hash text not null check (key_hash ~ '^[0-9a-f]{64}$'),
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    primary key (tenant_id, id),
    unique (key_hash)
);

comment on table treeline.api_keys is
'Keys by hash. The edge reads its own tenant''s, without the hash; only the keeper makes or revokes one.';
comment on column treeline.api_keys.prefix is 'The first characters of the key, for display.';
comment on column treeline.api_keys.key_hash is 'SHA-256 of the whole key, in lower-case hexadecimal.';
comment on column treeline.api_keys.expires_at is 'From this moment on the key is refused; null: it does not expire.';
comment on column treeline.api_keys.revoked_at is 'When the key was withdrawn; null: it was not.';

alter table treeline.api_keys enable row level security;
alter table treeline.api_keys force row level security;

-- Column by column: the hash stays out of the edge's reach even for its own tenant.
grant select (tenant_id, id, name, prefix, created_at, expires_at, revoked_at)
on treeline.api_keys to treeline_edge;
grant select, insert, update on treeline.api_keys to treeline_keeper;

-- A tenant lists its own keys.
create policy api_keys_edge_select on treeline.api_keys
for select to treeline_edge
using (tenant_id = (select treeline.current_tenant()));

create policy api_keys_keeper_select on treeline.api_keys
for select to treeline_keeper
using (true);

create policy api_keys_keeper_insert on treeline.api_keys
for insert to treeline_keeper
with check (true);

create policy api_keys_keeper_update on treeline.api_keys
for update to treeline_keeper
using (true)
with check (true);
