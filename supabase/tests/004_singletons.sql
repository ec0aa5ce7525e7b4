-- One holder at a time, and nobody who was overtaken stores anything.

begin;
set local search_path = tap, pg_catalog;
select plan(13);

select results_eq(
    $$select * from treeline.take_singleton('new', 1000)$$,
    $$values (null::jsonb, 1::bigint)$$,
    'a new name has no state, and is taken'
);
select is_empty($$select * from treeline.take_singleton('new', 1000)$$, 'whoever comes second gets nothing');
select is(treeline.put_singleton('new', 2, '{"n": 2}'), false, 'a token that was never given stores nothing');
select is(treeline.put_singleton('new', 1, '{"n": 1}'), true, 'the holder stores');
select is(treeline.put_singleton('new', 1, '{"n": 9}'), false, 'but not twice on one lease');
select results_eq(
    $$select * from treeline.take_singleton('new', 1)$$,
    $$values ('{"n": 1}'::jsonb, 2::bigint)$$,
    'the next holder sees what was stored'
);
select pg_sleep(0.02);
select results_eq(
    $$select * from treeline.take_singleton('new', 1000)$$,
    $$values ('{"n": 1}'::jsonb, 3::bigint)$$,
    'a lease that ran out is passed on'
);
select is(treeline.put_singleton('new', 2, '{"n": 9}'), false, 'whoever was overtaken stores nothing');
select is(treeline.release_singleton('new', 3), true, 'a lease is given back without a change');
select is(
    (select state from treeline.take_singleton('new', 1000)), '{"n": 1}'::jsonb, 'which leaves the state as it was'
);
select throws_ok($$select treeline.take_singleton('new', 60001)$$, '22023', null, 'a lease ends within a minute');
select is(
    probe_as('treeline_edge', null, $$select * from treeline.take_singleton('shared', 1000)$$),
    'rows:1',
    'the edge may take'
);
select throws_ok(
    $$select treeline.put_singleton('new', 4, to_jsonb(repeat('x', 1048576)))$$,
    '23514',
    null,
    'a state has at most 1 MiB'
);

select * from finish();
rollback;
