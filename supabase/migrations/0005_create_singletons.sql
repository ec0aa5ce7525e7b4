-- Singletons: state that exists once by name, for hosts without durable objects. A change takes a lease, computes the
-- next state outside the database, and puts it back. The token is a fence: whoever held a lease that ran out, and was
-- overtaken, cannot put anything back.

create table treeline.singletons (
    name text primary key check (char_length(name) between 1 and 300),
    state jsonb check (octet_length(state::text) <= 1048576),
    token bigint not null default 0,
    leased_until timestamptz,
    changed_at timestamptz not null default now()
);

comment on table treeline.singletons is
'State by name, at most 1 MiB each. Reached only through take_singleton, put_singleton and release_singleton.';
comment on column treeline.singletons.token is 'Counts the leases given; only the holder of the newest may put.';
comment on column treeline.singletons.leased_until is 'Until when the present holder has it alone; null: nobody does.';

alter table treeline.singletons enable row level security;
alter table treeline.singletons force row level security;

-- The edge has no right on the table itself.
grant select, insert, update on treeline.singletons to treeline_keeper;

create policy singletons_keeper_select on treeline.singletons
for select to treeline_keeper
using (true);

create policy singletons_keeper_insert on treeline.singletons
for insert to treeline_keeper
with check (true);

create policy singletons_keeper_update on treeline.singletons
for update to treeline_keeper
using (true)
with check (true);

-- Takes the lease of one name for `lease_ms` milliseconds (1 to 60000) and returns its state and token; no row where
-- another holds it. The update waits for the row's lock and then looks again, so two callers never both get it.
-- Security definer, because the edge must not read or write other names than the one it asks for.
create function treeline.take_singleton(singleton text, lease_ms integer)
returns table (state jsonb, token bigint)
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    if lease_ms not between 1 and 60000 then
        raise exception 'lease_ms must be between 1 and 60000' using errcode = '22023';
    end if;
    insert into treeline.singletons (name) values (singleton) on conflict do nothing;
    return query
    update treeline.singletons as held
    set
        token = held.token + 1,
        leased_until = clock_timestamp() + make_interval(secs => lease_ms / 1000.0)
    where held.name = singleton and (held.leased_until is null or held.leased_until <= clock_timestamp())
    returning held.state, held.token;
end
$$;

-- Stores the next state and gives the lease back. False where the lease was overtaken: nothing is stored then.
-- Security definer for the same reason as take_singleton.
create function treeline.put_singleton(singleton text, lease_token bigint, next_state jsonb) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    update treeline.singletons as held
    set state = next_state, leased_until = null, changed_at = clock_timestamp()
    where held.name = singleton and held.token = lease_token and held.leased_until is not null;
    return found;
end
$$;

-- Gives the lease back without a change, for a holder whose change failed. False where it was overtaken.
-- Security definer for the same reason as take_singleton.
create function treeline.release_singleton(singleton text, lease_token bigint) returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    update treeline.singletons as held
    set leased_until = null
    where held.name = singleton and held.token = lease_token and held.leased_until is not null;
    return found;
end
$$;

revoke all on function treeline.take_singleton(text, integer) from public;
revoke all on function treeline.put_singleton(text, bigint, jsonb) from public;
revoke all on function treeline.release_singleton(text, bigint) from public;
grant execute on function treeline.take_singleton(text, integer) to treeline_edge;
grant execute on function treeline.put_singleton(text, bigint, jsonb) to treeline_edge;
grant execute on function treeline.release_singleton(text, bigint) to treeline_edge;

-- An owner must be allowed to create in the schema at the moment it becomes one; not a moment longer.
grant create on schema treeline to treeline_keeper;
alter function treeline.take_singleton(text, integer) owner to treeline_keeper;
alter function treeline.put_singleton(text, bigint, jsonb) owner to treeline_keeper;
alter function treeline.release_singleton(text, bigint) owner to treeline_keeper;
revoke create on schema treeline from treeline_keeper;
