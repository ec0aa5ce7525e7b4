-- Usage: what was done for a tenant, one row per answered call. Written after the answer; never changed.

create table treeline.usage (
    tenant_id uuid not null references treeline.tenants (id) on delete cascade,
    id uuid not null default gen_random_uuid(),
    key_id uuid,
    operation text not null check (char_length(operation) between 1 and 100),
    model text not null check (char_length(model) between 1 and 200),
    input_tokens integer not null default 0 check (input_tokens >= 0),
    output_tokens integer not null default 0 check (output_tokens >= 0),
    cache_hit boolean not null default false,
    latency_ms double precision not null check (latency_ms >= 0),
    recorded_at timestamptz not null default now(),
    primary key (tenant_id, id),
    -- Both columns together: a row cannot name another tenant's key.
    foreign key (tenant_id, key_id) references treeline.api_keys (tenant_id, id)
);

comment on table treeline.usage is 'One row per answered call. The edge adds and reads its own tenant''s rows.';
comment on column treeline.usage.key_id is 'The key that was used; null for a call without one (local development).';
comment on column treeline.usage.operation is 'What was asked for, such as embeddings or chat.completions.';
comment on column treeline.usage.latency_ms is 'Milliseconds from the request''s arrival to its answer.';

create index usage_by_time on treeline.usage (tenant_id, recorded_at desc);
create index usage_by_key on treeline.usage (tenant_id, key_id);

alter table treeline.usage enable row level security;
alter table treeline.usage force row level security;

grant select, insert on treeline.usage to treeline_edge;

create policy usage_edge_select on treeline.usage
for select to treeline_edge
using (tenant_id = (select treeline.current_tenant()));

create policy usage_edge_insert on treeline.usage
for insert to treeline_edge
with check (tenant_id = (select treeline.current_tenant()));
