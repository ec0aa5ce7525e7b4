-- What the tests share, in a schema of their own. Run once, before them; not part of the product.

create schema tap;
create extension pgtap with schema tap;

-- Runs one statement and undoes it, whatever it did: 'rows:3', or the SQLSTATE of its error. A row that leaks in one
-- case thus cannot disturb the next.
create function tap.probe(statement text) returns text
language plpgsql
as $$
declare
    affected bigint;
begin
    execute statement;
    get diagnostics affected = row_count;
    raise exception using errcode = 'P9999', message = affected::text;
exception
    when sqlstate 'P9999' then return 'rows:' || sqlerrm;
    when others then return sqlstate;
end
$$;

-- Runs one statement as `role_name`, bound to `tenant` (null: to none), and returns what probe says of it.
create function tap.probe_as(role_name text, tenant uuid, statement text) returns text
language plpgsql
as $$
declare
    outcome text;
begin
    perform set_config('treeline.tenant_id', coalesce(tenant::text, ''), true);
    execute format('set local role %I', role_name);
    outcome := tap.probe(statement);
    reset role;
    return outcome;
end
$$;

grant usage on schema tap to public;
grant execute on all functions in schema tap to public;

-- Supabase's roles, with what Supabase gives them.
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'anon') then
        create role anon nologin noinherit;
        create role authenticated nologin noinherit;
        create role service_role nologin noinherit bypassrls;
    end if;
end
$$;

-- Two tenants with one row each of everything, for all tests.
insert into treeline.tenants (id, name) values
('aaaaaaaa-0000-4000-8000-000000000001', 'Alder'),
('bbbbbbbb-0000-4000-8000-000000000002', 'Birch');

insert into treeline.api_keys (tenant_id, id, name, prefix, key_hash) values
(
    'aaaaaaaa-0000-4000-8000-000000000001',
    'aaaaaaaa-0000-4000-8000-0000000000f1',
    'live',
    'tl_aaaaaaaa',
    repeat('a', 64)
),
(
    'bbbbbbbb-0000-4000-8000-000000000002',
    'bbbbbbbb-0000-4000-8000-0000000000f2',
    'live',
    'tl_bbbbbbbb',
    repeat('b', 64)
);

insert into treeline.usage (tenant_id, key_id, operation, model, latency_ms) values
('aaaaaaaa-0000-4000-8000-000000000001', 'aaaaaaaa-0000-4000-8000-0000000000f1', 'embeddings', 'm', 1),
('bbbbbbbb-0000-4000-8000-000000000002', 'bbbbbbbb-0000-4000-8000-0000000000f2', 'embeddings', 'm', 1);

-- Their ids differ, so that one tenant's row never satisfies the other's foreign key.
insert into treeline.experiments (tenant_id, id, name, definition) values
('aaaaaaaa-0000-4000-8000-000000000001', 'aaaaaaaaaaaa', 'live', '{}'),
('bbbbbbbb-0000-4000-8000-000000000002', 'bbbbbbbbbbbb', 'live', '{}');

insert into treeline.experiment_events (tenant_id, experiment_id, subject, at_ms, event) values
('aaaaaaaa-0000-4000-8000-000000000001', 'aaaaaaaaaaaa', 'live', 1, '{}'),
('bbbbbbbb-0000-4000-8000-000000000002', 'bbbbbbbbbbbb', 'live', 1, '{}');

insert into treeline.searches (tenant_id, id, length, is_running) values
('aaaaaaaa-0000-4000-8000-000000000001', 'cccccccc-0000-4000-8000-000000000001', 1, true),
('bbbbbbbb-0000-4000-8000-000000000002', 'dddddddd-0000-4000-8000-000000000001', 1, true);

insert into treeline.search_entries (tenant_id, search_id, number, entry) values
('aaaaaaaa-0000-4000-8000-000000000001', 'cccccccc-0000-4000-8000-000000000001', 0, '{}'),
('bbbbbbbb-0000-4000-8000-000000000002', 'dddddddd-0000-4000-8000-000000000001', 0, '{}');

insert into treeline.singletons (name, state) values ('shared', '{"n": 1}');
