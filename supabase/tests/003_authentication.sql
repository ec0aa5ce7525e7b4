-- Keys become tenants only while they live, and only the edge may ask.

begin;
set local search_path = tap, pg_catalog;
select plan(17);

insert into treeline.api_keys (tenant_id, name, prefix, key_hash, expires_at, revoked_at) values
('aaaaaaaa-0000-4000-8000-000000000001', 'revoked', 'tl_cccccccc', repeat('c', 64), null, now()),
('aaaaaaaa-0000-4000-8000-000000000001', 'expired', 'tl_dddddddd', repeat('d', 64), now(), null),
(
    'aaaaaaaa-0000-4000-8000-000000000001',
    'expires later',
    'tl_eeeeeeee',
    repeat('e', 64),
    now() + interval '1 hour',
    null
);

select results_eq(
    $$select * from treeline.authenticate(repeat('a', 64))$$,
    $$values (
        'aaaaaaaa-0000-4000-8000-0000000000f1'::uuid, 'aaaaaaaa-0000-4000-8000-000000000001'::uuid, 'Alder'::text
    )$$,
    'a live key is its tenant'
);
select is(
    probe_as('treeline_edge', null, $$select * from treeline.authenticate(repeat('a', 64))$$),
    'rows:1',
    'the edge may ask, without a tenant'
);
select isnt_empty($$select * from treeline.authenticate(repeat('e', 64))$$, 'a key that expires later is live');
select is_empty($$select * from treeline.authenticate(repeat('c', 64))$$, 'a revoked key is none');
select is_empty($$select * from treeline.authenticate(repeat('d', 64))$$, 'a key is none from the moment it expires');
select is_empty($$select * from treeline.authenticate(repeat('9', 64))$$, 'an unknown key is none');
select is_empty($$select * from treeline.authenticate(null)$$, 'no key is none');
select is_empty($$select * from treeline.authenticate(upper(repeat('a', 64)))$$, 'hashes are compared as they are');

select
    is(
        probe_as(role_name, null, $$select treeline.authenticate(repeat('a', 64))$$),
        '42501',
        role_name || ' may not ask'
    )
from unnest(array['anon', 'authenticated', 'service_role']) as role_name;

select is(
    probe_as(
        'treeline_edge',
        'aaaaaaaa-0000-4000-8000-000000000001',
        $$select treeline.provision(gen_random_uuid(), 'x', 'x', 'tl_xxxxxxxx', repeat('f', 64))$$
    ),
    '42501',
    'the edge may not provision'
);
select lives_ok(
    $$select treeline.provision(
        'cccccccc-0000-4000-8000-000000000003', 'Cedar', 'first', 'tl_ffffffff', repeat('f', 64)
    )$$,
    'a local tool may'
);
select is(
    treeline.provision('cccccccc-0000-4000-8000-000000000003', 'Cedar 2', 'first', 'tl_ffffffff', repeat('f', 64)),
    (select key_id from treeline.authenticate(repeat('f', 64))),
    'twice is as good as once'
);
select is(
    (select tenant_name from treeline.authenticate(repeat('f', 64))), 'Cedar 2', 'and takes over the tenant''s name'
);
select throws_ok(
    $$select treeline.provision(
        'cccccccc-0000-4000-8000-000000000003', 'Cedar', 'stolen', 'tl_aaaaaaaa', repeat('a', 64)
    )$$,
    '23505',
    null,
    'a key of another tenant cannot be taken over'
);
select throws_ok(
    $$select treeline.provision('cccccccc-0000-4000-8000-000000000003', 'Cedar', 'plain', 'tl_aaaaaaaa', 'tl_secret')$$,
    '23514',
    null,
    'a key that was not hashed is not stored'
);

select * from finish();
rollback;
