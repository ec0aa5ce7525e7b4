-- The product's schema and its two roles. It applies alike to an embedded PostgreSQL, to a plain server and to
-- Supabase, with or without a superuser. The schema is not among those that Supabase's data API exposes, and `anon`,
-- `authenticated` and `public` get nothing in it.

create schema if not exists treeline;

revoke all on schema treeline from public;

-- Roles belong to the whole cluster, so another database of it may have made them already.
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'treeline_edge') then
        create role treeline_edge nologin noinherit;
    end if;
    if not exists (select from pg_catalog.pg_roles where rolname = 'treeline_keeper') then
        create role treeline_keeper nologin noinherit;
    end if;
end
$$;

comment on role treeline_edge is
'What the edge becomes in each transaction (set local role), so that even a superuser connection is bound by policies.';

comment on role treeline_keeper is
'Owner of the security definer functions. Nobody logs in as it; its own policies allow just what those functions do.';

-- Whoever migrates is the one whose connection the edge uses: it may become the edge, and may hand functions over
-- to the keeper.
grant treeline_edge to current_user;
grant treeline_keeper to current_user;

-- The tenant of this transaction, or null where none was set. An adapter sets it by
-- set_config('treeline.tenant_id', …, true), which ends with the transaction.
create or replace function treeline.current_tenant() returns uuid
language sql
stable
set search_path = ''
as $$
    select nullif(current_setting('treeline.tenant_id', true), '')::uuid
$$;

comment on function treeline.current_tenant() is
'The tenant that this transaction acts for; null where none was set, which matches no row.';

revoke all on function treeline.current_tenant() from public;

grant usage on schema treeline to treeline_edge, treeline_keeper;
grant execute on function treeline.current_tenant() to treeline_edge, treeline_keeper;
