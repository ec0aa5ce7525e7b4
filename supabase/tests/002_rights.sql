-- Who may do what to whose rows: role × table × action × tenant, from one list.

begin;
set local search_path = tap, pg_catalog;

create temporary table expectation (
    role_name text,
    table_name text,
    action text,
    whose text,
    outcome text
) on commit drop;

-- 42501: no such right, or a policy refuses the new row. rows:0: the rows are not there for this role.
insert into expectation (role_name, table_name, action, whose, outcome) values
('treeline_edge', 'tenants', 'select', 'own', 'rows:1'),
('treeline_edge', 'tenants', 'select', 'other', 'rows:0'),
('treeline_edge', 'tenants', 'select', 'none', 'rows:0'),
('treeline_edge', 'tenants', 'insert', 'own', '42501'),
('treeline_edge', 'tenants', 'update', 'own', '42501'),
('treeline_edge', 'tenants', 'delete', 'own', '42501'),
('treeline_edge', 'api_keys', 'select', 'own', 'rows:1'),
('treeline_edge', 'api_keys', 'select', 'other', 'rows:0'),
('treeline_edge', 'api_keys', 'select', 'none', 'rows:0'),
('treeline_edge', 'api_keys', 'select hash', 'own', '42501'),
('treeline_edge', 'api_keys', 'insert', 'own', '42501'),
('treeline_edge', 'api_keys', 'update', 'own', '42501'),
('treeline_edge', 'api_keys', 'delete', 'own', '42501'),
('treeline_edge', 'usage', 'select', 'own', 'rows:1'),
('treeline_edge', 'usage', 'select', 'other', 'rows:0'),
('treeline_edge', 'usage', 'select', 'none', 'rows:0'),
('treeline_edge', 'usage', 'insert', 'own', 'rows:1'),
('treeline_edge', 'usage', 'insert', 'other', '42501'),
('treeline_edge', 'usage', 'insert', 'none', '42501'),
('treeline_edge', 'usage', 'update', 'own', '42501'),
('treeline_edge', 'usage', 'delete', 'own', '42501'),
('treeline_edge', 'experiments', 'select', 'own', 'rows:1'),
('treeline_edge', 'experiments', 'select', 'other', 'rows:0'),
('treeline_edge', 'experiments', 'select', 'none', 'rows:0'),
('treeline_edge', 'experiments', 'insert', 'own', 'rows:1'),
('treeline_edge', 'experiments', 'insert', 'other', '42501'),
('treeline_edge', 'experiments', 'insert', 'none', '42501'),
('treeline_edge', 'experiments', 'update', 'own', 'rows:1'),
('treeline_edge', 'experiments', 'update', 'other', 'rows:0'),
('treeline_edge', 'experiments', 'update', 'none', 'rows:0'),
('treeline_edge', 'experiments', 'update definition', 'own', '42501'),
('treeline_edge', 'experiments', 'delete', 'own', '42501'),
('treeline_edge', 'experiment_events', 'select', 'own', 'rows:1'),
('treeline_edge', 'experiment_events', 'select', 'other', 'rows:0'),
('treeline_edge', 'experiment_events', 'select', 'none', 'rows:0'),
('treeline_edge', 'experiment_events', 'insert', 'own', 'rows:1'),
('treeline_edge', 'experiment_events', 'insert', 'other', '42501'),
('treeline_edge', 'experiment_events', 'insert', 'none', '42501'),
('treeline_edge', 'experiment_events', 'update', 'own', '42501'),
('treeline_edge', 'experiment_events', 'delete', 'own', '42501'),
('treeline_edge', 'searches', 'select', 'own', 'rows:1'),
('treeline_edge', 'searches', 'select', 'other', 'rows:0'),
('treeline_edge', 'searches', 'select', 'none', 'rows:0'),
('treeline_edge', 'searches', 'insert', 'own', 'rows:1'),
('treeline_edge', 'searches', 'insert', 'other', '42501'),
('treeline_edge', 'searches', 'insert', 'none', '42501'),
('treeline_edge', 'searches', 'update', 'own', 'rows:1'),
('treeline_edge', 'searches', 'update', 'other', 'rows:0'),
('treeline_edge', 'searches', 'update', 'none', 'rows:0'),
('treeline_edge', 'searches', 'delete', 'own', 'rows:1'),
('treeline_edge', 'searches', 'delete', 'other', 'rows:0'),
('treeline_edge', 'searches', 'delete', 'none', 'rows:0'),
('treeline_edge', 'search_entries', 'select', 'own', 'rows:1'),
('treeline_edge', 'search_entries', 'select', 'other', 'rows:0'),
('treeline_edge', 'search_entries', 'select', 'none', 'rows:0'),
('treeline_edge', 'search_entries', 'insert', 'own', 'rows:1'),
('treeline_edge', 'search_entries', 'insert', 'other', '42501'),
('treeline_edge', 'search_entries', 'insert', 'none', '42501'),
('treeline_edge', 'search_entries', 'update', 'own', '42501'),
('treeline_edge', 'search_entries', 'delete', 'own', '42501'),
('treeline_edge', 'singletons', 'select', 'own', '42501'),
('treeline_edge', 'singletons', 'insert', 'own', '42501'),
('treeline_edge', 'singletons', 'update', 'own', '42501'),
('treeline_edge', 'singletons', 'delete', 'own', '42501');

-- Supabase's roles reach nothing at all, with row level security out of the way or not.
insert into expectation (role_name, table_name, action, whose, outcome)
select
    role_name,
    table_name,
    action,
    'own' as whose,
    '42501' as outcome
from unnest(array['anon', 'authenticated', 'service_role']) as role_name
cross join
    unnest(
        array[
            'tenants',
            'api_keys',
            'usage',
            'experiments',
            'experiment_events',
            'singletons',
            'searches',
            'search_entries'
        ]
    ) as table_name
cross join unnest(array['select', 'insert', 'update', 'delete']) as action;

-- Every table is in the list for the edge: a new one without a line here fails.
create temporary table statement (table_name text, action text, template text) on commit drop;
insert into statement (table_name, action, template) values
('tenants', 'select', 'select from treeline.tenants where id = %1$L'),
('tenants', 'insert', 'insert into treeline.tenants (name) values (''new'')'),
('tenants', 'update', 'update treeline.tenants set name = ''changed'' where id = %1$L'),
('tenants', 'delete', 'delete from treeline.tenants where id = %1$L'),
('api_keys', 'select', 'select from treeline.api_keys where tenant_id = %1$L'),
('api_keys', 'select hash', 'select key_hash from treeline.api_keys where tenant_id = %1$L'),
(
    'api_keys',
    'insert',
    'insert into treeline.api_keys (tenant_id, name, prefix, key_hash)
    values (%1$L, ''x'', ''tl_xxxxxxxx'', repeat(''c'', 64))'
),
('api_keys', 'update', 'update treeline.api_keys set revoked_at = now() where tenant_id = %1$L'),
('api_keys', 'delete', 'delete from treeline.api_keys where tenant_id = %1$L'),
('usage', 'select', 'select from treeline.usage where tenant_id = %1$L'),
(
    'usage',
    'insert',
    'insert into treeline.usage (tenant_id, operation, model, latency_ms) values (%1$L, ''embeddings'', ''m'', 1)'
),
('usage', 'update', 'update treeline.usage set input_tokens = 0 where tenant_id = %1$L'),
('usage', 'delete', 'delete from treeline.usage where tenant_id = %1$L'),
('experiments', 'select', 'select from treeline.experiments where tenant_id = %1$L'),
(
    'experiments',
    'insert',
    'insert into treeline.experiments (tenant_id, id, name, definition)
    values (%1$L, ''0123456789ab'', ''new'', ''{}'')'
),
('experiments', 'update', 'update treeline.experiments set ended_at = now() where tenant_id = %1$L'),
('experiments', 'update definition', 'update treeline.experiments set definition = ''{}'' where tenant_id = %1$L'),
('experiments', 'delete', 'delete from treeline.experiments where tenant_id = %1$L'),
('experiment_events', 'select', 'select from treeline.experiment_events where tenant_id = %1$L'),
(
    'experiment_events',
    'insert',
    'insert into treeline.experiment_events (tenant_id, experiment_id, subject, at_ms, event)
    values (%1$L, ''aaaaaaaaaaaa'', ''new'', 1, ''{}'')'
),
('experiment_events', 'update', 'update treeline.experiment_events set at_ms = 0 where tenant_id = %1$L'),
('experiment_events', 'delete', 'delete from treeline.experiment_events where tenant_id = %1$L'),
('searches', 'select', 'select from treeline.searches where tenant_id = %1$L'),
(
    'searches',
    'insert',
    'insert into treeline.searches (tenant_id, id, length, is_running) values (%1$L, gen_random_uuid(), 1, true)'
),
('searches', 'update', 'update treeline.searches set is_running = true where tenant_id = %1$L'),
('searches', 'delete', 'delete from treeline.searches where tenant_id = %1$L'),
('search_entries', 'select', 'select from treeline.search_entries where tenant_id = %1$L'),
(
    'search_entries',
    'insert',
    'insert into treeline.search_entries (tenant_id, search_id, number, entry)
    values (%1$L, ''cccccccc-0000-4000-8000-000000000001'', 1, ''{}'')'
),
('search_entries', 'update', 'update treeline.search_entries set entry = ''{}'' where tenant_id = %1$L'),
('search_entries', 'delete', 'delete from treeline.search_entries where tenant_id = %1$L'),
('singletons', 'select', 'select from treeline.singletons'),
('singletons', 'insert', 'insert into treeline.singletons (name) values (''new'')'),
('singletons', 'update', 'update treeline.singletons set token = 0'),
('singletons', 'delete', 'delete from treeline.singletons');

-- plpgsql's plan() counts the list and what comes after it.
select plan((select count(*)::int from expectation) + 7);

select
    is(
        probe_as(
            expectation.role_name,
            -- Acting as Alder on one's own rows or on Birch's, or as nobody on Alder's.
            case when expectation.whose <> 'none' then 'aaaaaaaa-0000-4000-8000-000000000001'::uuid end,
            format(
                statement.template,
                case
                    when expectation.whose = 'other' then 'bbbbbbbb-0000-4000-8000-000000000002'
                    else 'aaaaaaaa-0000-4000-8000-000000000001'
                end
            )
        ),
        expectation.outcome,
        format(
            '%s, %s on %s (%s): %s',
            expectation.role_name,
            expectation.action,
            expectation.table_name,
            expectation.whose,
            expectation.outcome
        )
    )
from expectation
inner join statement
    on expectation.table_name = statement.table_name and expectation.action = statement.action;

select is_empty(
    $$select tablename from pg_tables
    where schemaname = 'treeline' and tablename not in (select table_name from expectation)$$,
    'no table is missing from this list'
);
select is(
    probe_as('treeline_edge', 'aaaaaaaa-0000-4000-8000-000000000001', 'select from treeline.usage'),
    'rows:1',
    'without a where clause a tenant still sees only its own rows'
);
select is(
    probe_as(
        'treeline_edge',
        'aaaaaaaa-0000-4000-8000-000000000001',
        $$insert into treeline.usage (tenant_id, key_id, operation, model, latency_ms)
        values ('aaaaaaaa-0000-4000-8000-000000000001', 'bbbbbbbb-0000-4000-8000-0000000000f2', 'x', 'm', 1)$$
    ),
    '23503',
    'a tenant cannot put its usage on another tenant''s key'
);
select is(
    probe_as(
        'treeline_edge',
        'aaaaaaaa-0000-4000-8000-000000000001',
        $$insert into treeline.experiment_events (tenant_id, experiment_id, subject, at_ms, event)
        values ('aaaaaaaa-0000-4000-8000-000000000001', 'bbbbbbbbbbbb', 'x', 1, '{}')$$
    ),
    '23503',
    'a tenant cannot add an event to another tenant''s experiment'
);
select is(
    probe_as('treeline_edge', null, $$select set_config('treeline.tenant_id', 'not a uuid', true)$$),
    'rows:1',
    'the setting takes any text'
);
select throws_ok(
    $$select set_config('treeline.tenant_id', 'not a uuid', true), treeline.current_tenant()$$,
    '22P02',
    null,
    'but a tenant that is no UUID is an error, not every tenant'
);
select is(
    probe_as('treeline_edge', null, 'select from treeline_migrations.applied'),
    '42501',
    'the edge does not see which migrations there are'
);

select * from finish();
rollback;
