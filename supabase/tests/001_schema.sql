-- What must hold of every table and function of the schema, those of later migrations included.

begin;
set local search_path = tap, pg_catalog;
select plan(11);

select has_schema('treeline');
select isnt_empty(
    'select 1 from pg_tables where schemaname = ''treeline''',
    'there are tables to look at'
);
select is_empty(
    $$select relname from pg_class
    where relnamespace = 'treeline'::regnamespace and relkind in ('r', 'p') and not relrowsecurity$$,
    'every table has row level security'
);
select is_empty(
    $$select relname from pg_class
    where relnamespace = 'treeline'::regnamespace and relkind in ('r', 'p') and not relforcerowsecurity$$,
    'every table forces it on its owner too'
);
select is_empty(
    $$select tablename, policyname from pg_policies where schemaname = 'treeline' and cmd = 'ALL'$$,
    'every policy is for one action'
);
select is_empty(
    $$select tablename, policyname, roles from pg_policies
    where schemaname = 'treeline' and not roles <@ array['treeline_edge', 'treeline_keeper']::name[]$$,
    'every policy names one of the two roles, never public'
);
select is_empty(
    $$select proname from pg_proc
    where
        pronamespace = 'treeline'::regnamespace
        and (proconfig is null or not 'search_path=""' = any(proconfig))$$,
    'every function fixes its search path'
);
select is_empty(
    $$select proname from pg_proc
    where
        pronamespace = 'treeline'::regnamespace
        and prosecdef
        and proowner <> 'treeline_keeper'::regrole$$,
    'every security definer function belongs to the keeper, who cannot log in and bypasses nothing'
);
select is_empty(
    $$select proname from pg_proc
    where
        pronamespace = 'treeline'::regnamespace
        and (proacl is null or exists (select from aclexplode(proacl) where grantee = 0))$$,
    'no function is open to everybody'
);
select is_empty(
    $$select rolname from pg_roles
    where rolname in ('treeline_edge', 'treeline_keeper') and (rolcanlogin or rolsuper or rolbypassrls or rolcreaterole)$$,
    'neither role logs in, or is above the policies'
);
select is_empty(
    $$select columns.table_name from information_schema.columns
    where
        columns.table_schema = 'treeline'
        and columns.column_name = 'tenant_id'
        and (columns.is_nullable = 'YES' or not exists (
            select from pg_index
            inner join pg_attribute on pg_attribute.attrelid = pg_index.indrelid
            where
                pg_index.indrelid = format('treeline.%I', columns.table_name)::regclass
                and pg_attribute.attname = 'tenant_id'
                and pg_index.indkey[0] = pg_attribute.attnum
        ))$$,
    'every tenant column is not null, and the first of an index'
);

select * from finish();
rollback;
