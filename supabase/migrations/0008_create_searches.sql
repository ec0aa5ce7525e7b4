-- Searches on hosts without durable objects: the log of each, and a lease for the one that drives it. The length is a
-- fence for everybody (an entry is added only where the log has the length that its writer knew), the token one for
-- drivers: one whose lease ran out and was overtaken adds nothing.

create table treeline.searches (
    tenant_id uuid not null references treeline.tenants (id) on delete cascade,
    id uuid not null,
    length integer not null check (length between 1 and 100000),
    is_running boolean not null,
    token bigint not null default 0,
    leased_until timestamptz,
    created_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    primary key (tenant_id, id)
);

comment on table treeline.searches is 'One row per search. The edge has its own tenant''s rows.';
comment on column treeline.searches.length is 'Entries of its log.';
comment on column treeline.searches.is_running is 'Whether a driver is to carry it on.';
comment on column treeline.searches.token is 'Counts the leases given; only the holder of the newest may drive.';
comment on column treeline.searches.leased_until is 'Until when the present driver has it alone; null: nobody does.';

create index searches_running on treeline.searches (tenant_id, leased_until) where is_running;
create index searches_by_change on treeline.searches (tenant_id, changed_at);

create table treeline.search_entries (
    tenant_id uuid not null,
    search_id uuid not null,
    number integer not null check (number >= 0),
    -- JSON as text: the models' words may hold characters that jsonb does not take.
    entry text not null check (octet_length(entry) <= 4194304),
    primary key (tenant_id, search_id, number),
    foreign key (tenant_id, search_id) references treeline.searches (tenant_id, id) on delete cascade
);

comment on table treeline.search_entries is 'The logs of searches, from number 0 on. Entries are added, never changed.';

alter table treeline.searches enable row level security;
alter table treeline.searches force row level security;
alter table treeline.search_entries enable row level security;
alter table treeline.search_entries force row level security;

grant select, insert, update, delete on treeline.searches to treeline_edge;
grant select, insert on treeline.search_entries to treeline_edge;

create policy searches_edge_select on treeline.searches
for select to treeline_edge
using (tenant_id = (select treeline.current_tenant()));

create policy searches_edge_insert on treeline.searches
for insert to treeline_edge
with check (tenant_id = (select treeline.current_tenant()));

create policy searches_edge_update on treeline.searches
for update to treeline_edge
using (tenant_id = (select treeline.current_tenant()))
with check (tenant_id = (select treeline.current_tenant()));

-- Old searches leave when new ones come; their entries go with them.
create policy searches_edge_delete on treeline.searches
for delete to treeline_edge
using (tenant_id = (select treeline.current_tenant()));

create policy search_entries_edge_select on treeline.search_entries
for select to treeline_edge
using (tenant_id = (select treeline.current_tenant()));

create policy search_entries_edge_insert on treeline.search_entries
for insert to treeline_edge
with check (tenant_id = (select treeline.current_tenant()));
