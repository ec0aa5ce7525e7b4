-- Experiments: which settings of a call are tried, and everything that happened under them. The events are the truth;
-- the snapshot is what they came to, so that an isolate need not read all of them again.

create table treeline.experiments (
    tenant_id uuid not null references treeline.tenants (id) on delete cascade,
    id text not null check (id ~ '^[0-9a-f]{12}$'),
    name text not null check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    definition jsonb not null check (octet_length(definition::text) <= 262144),
    created_at timestamptz not null default now(),
    ended_at timestamptz,
    snapshot bytea check (octet_length(snapshot) <= 67108864),
    snapshot_watermark xid8 not null default '0',
    primary key (tenant_id, id),
    unique (tenant_id, name)
);

comment on table treeline.experiments is
'One row per experiment. The edge makes, reads, ends its own tenant''s, and stores what their events came to.';
comment on column treeline.experiments.id is 'The first 12 digits of the ids of its decisions.';
comment on column treeline.experiments.definition is 'As the tenant gave it, with all defaults; arms are events.';
comment on column treeline.experiments.snapshot is 'The state after all events before the watermark, and maybe more.';
comment on column treeline.experiments.snapshot_watermark is
'Events of transactions before this one are in the snapshot; 0: there is none.';

alter table treeline.experiments enable row level security;
alter table treeline.experiments force row level security;

grant select, insert on treeline.experiments to treeline_edge;
grant update (ended_at, snapshot, snapshot_watermark) on treeline.experiments to treeline_edge;

create policy experiments_edge_select on treeline.experiments
for select to treeline_edge
using (tenant_id = (select treeline.current_tenant()));

create policy experiments_edge_insert on treeline.experiments
for insert to treeline_edge
with check (tenant_id = (select treeline.current_tenant()));

create policy experiments_edge_update on treeline.experiments
for update to treeline_edge
using (tenant_id = (select treeline.current_tenant()))
with check (tenant_id = (select treeline.current_tenant()));

create table treeline.experiment_events (
    tenant_id uuid not null,
    experiment_id text not null,
    subject text not null check (char_length(subject) between 1 and 300),
    decision_id text check (decision_id ~ '^[0-9a-f]{32}$'),
    at_ms bigint not null check (at_ms >= 0),
    event jsonb not null check (octet_length(event::text) <= 16384),
    transaction_id xid8 not null default pg_current_xact_id(),
    primary key (tenant_id, experiment_id, subject),
    -- Both columns together: an event cannot name another tenant's experiment.
    foreign key (tenant_id, experiment_id) references treeline.experiments (tenant_id, id) on delete cascade
);

comment on table treeline.experiment_events is
'What happened to experiments: arms, decisions, rewards. The edge adds and reads its own tenant''s; none ever changes.';
comment on column treeline.experiment_events.subject is
'What the event is about. A second event about the same is not stored: so telling one twice changes nothing.';
comment on column treeline.experiment_events.decision_id is 'The decision, for decisions and rewards; null for arms.';
comment on column treeline.experiment_events.event is 'The event as the analytics core reads it.';
comment on column treeline.experiment_events.transaction_id is
'Who reads all events of transactions from a snapshot''s xmin on misses none, whatever order they commit in.';

create index experiment_events_by_transaction
on treeline.experiment_events (tenant_id, experiment_id, transaction_id);
create index experiment_events_by_decision
on treeline.experiment_events (tenant_id, experiment_id, decision_id);
-- The log is read newest first.
create index experiment_events_by_time
on treeline.experiment_events (tenant_id, experiment_id, at_ms);

alter table treeline.experiment_events enable row level security;
alter table treeline.experiment_events force row level security;

grant select, insert on treeline.experiment_events to treeline_edge;

create policy experiment_events_edge_select on treeline.experiment_events
for select to treeline_edge
using (tenant_id = (select treeline.current_tenant()));

create policy experiment_events_edge_insert on treeline.experiment_events
for insert to treeline_edge
with check (tenant_id = (select treeline.current_tenant()));
