-- Tenants: whoever pays for, and is limited by, what the edge does. All other rows belong to one.

create table treeline.tenants (
    id uuid primary key default gen_random_uuid(),
    name text not null check (char_length(name) between 1 and 200),
    created_at timestamptz not null default now()
);

comment on table treeline.tenants is 'One row per tenant. The edge reads its own tenant; only the keeper makes one.';

alter table treeline.tenants enable row level security;
alter table treeline.tenants force row level security;

grant select on treeline.tenants to treeline_edge;
grant select, insert, update on treeline.tenants to treeline_keeper;

-- A tenant sees itself and nobody else.
create policy tenants_edge_select on treeline.tenants
for select to treeline_edge
using (id = (select treeline.current_tenant()));

-- The keeper's functions look a tenant up by key, and provision one.
create policy tenants_keeper_select on treeline.tenants
for select to treeline_keeper
using (true);

create policy tenants_keeper_insert on treeline.tenants
for insert to treeline_keeper
with check (true);

create policy tenants_keeper_update on treeline.tenants
for update to treeline_keeper
using (true)
with check (true);
