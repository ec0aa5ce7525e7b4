use super::*;
use crate::decoder::{Decoder, StepSequence};
use crate::random::Random;
use crate::sampling::argmax;
use crate::toy::{ToyDecoder, shape, toy_logits};
use std::collections::BTreeMap;

const VOCABULARY_SIZE: usize = 50;
const MILLISECOND: Duration = Duration::from_millis(1);

fn options(blocks: usize) -> SchedulerOptions {
    SchedulerOptions {
        context_length: 100,
        block_tokens: 4,
        blocks,
        step_tokens_max: 24,
        running_max: 6,
        waiting_max: 40,
        waiting_tokens_max: 2_000,
        priority_head_start: Duration::from_secs(10),
        copies_blocks: true,
    }
}

fn scheduler(options: SchedulerOptions, now: Instant) -> Scheduler {
    Scheduler::new(options, PrefixHasher::default(), now)
}

fn request(prompt: Vec<u32>) -> SequenceRequest {
    SequenceRequest { prompt, choices: 1, priority: 0, deadline: None, salt: String::new() }
}

fn prompt(length: usize) -> Vec<u32> {
    (0..length as u32).map(|position| position * 7 % 50).collect()
}

/// A scheduler and a decoder run against each other; what was generated, by sequence.
struct Simulation {
    scheduler: Scheduler,
    decoder: ToyDecoder,
    now: Instant,
    generated: BTreeMap<SequenceId, Vec<u32>>,
}

impl Simulation {
    fn new(options: SchedulerOptions) -> Self {
        let now = Instant::now();
        let decoder =
            ToyDecoder::new(shape(VOCABULARY_SIZE, options.context_length, options.block_tokens, options.blocks));
        Self { scheduler: scheduler(options, now), decoder, now, generated: BTreeMap::new() }
    }

    fn submit(&mut self, request: &SequenceRequest) -> Vec<SequenceId> {
        self.scheduler.submit(request, self.now).expect("taken in")
    }

    fn step(&mut self) -> Plan {
        self.now += MILLISECOND;
        let plan = self.scheduler.plan(self.now);
        if plan.chunks.is_empty() {
            return plan;
        }
        let sequences: Vec<StepSequence<'_>> = plan.chunks.iter().map(chunk_sequence).collect();
        let mut logits = Vec::new();
        self.decoder.step(&sequences, &mut logits).expect("computed");
        self.scheduler.advance(&plan, MILLISECOND);
        let mut rows = logits.chunks(VOCABULARY_SIZE);
        for chunk in plan.chunks.iter().filter(|chunk| chunk.wants_logits) {
            let token = argmax(rows.next().expect("a row")).expect("a token");
            let forks = self.scheduler.fork(chunk.sequence);
            for copy in forks.iter().filter_map(|fork| fork.copy) {
                self.decoder.copy_block(copy.from, copy.to).expect("copied");
            }
            for id in forks.iter().map(|fork| fork.sequence).chain([chunk.sequence]) {
                self.scheduler.push_token(id, token);
                self.generated.entry(id).or_default().push(token);
            }
        }
        plan
    }

    fn end(&mut self, id: SequenceId) -> Vec<u32> {
        self.scheduler.remove(id, self.now);
        self.generated.remove(&id).unwrap_or_default()
    }
}

fn chunk_sequence(chunk: &Chunk) -> StepSequence<'_> {
    let Chunk { tokens, position, blocks, wants_logits, .. } = chunk;
    StepSequence { tokens, position: *position, blocks, wants_logits: *wants_logits }
}

/// What the toy generates alone, without any cache.
fn alone(prompt: &[u32], count: usize) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    for _ in 0..count {
        tokens.push(argmax(&toy_logits(VOCABULARY_SIZE, &tokens)).expect("a token"));
    }
    tokens.split_off(prompt.len())
}

#[test]
fn every_sequence_generates_what_it_generates_alone_whatever_else_happens() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut random = Random::new(seed, 0);
        let mut options = options(26 + random.below(30) as usize);
        options.copies_blocks = random.below(2) == 0;
        let mut simulation = Simulation::new(options);
        let mut wanted: BTreeMap<SequenceId, (Vec<u32>, usize)> = BTreeMap::new();
        let (mut checked, mut submitted) = (0, 0);
        for _ in 0..4_000 {
            if submitted < 60 && random.below(3) == 0 {
                let mut request = request(prompt(1 + random.below(40) as usize));
                request.prompt[0] = random.below(3) as u32;
                request.priority = random.below(3) as u8;
                request.choices = 1 + random.below(4) as u32;
                request.salt = ["", "other"][random.below(2) as usize].to_owned();
                submitted += 1;
                let Ok(ids) = simulation.scheduler.submit(&request, simulation.now) else { continue };
                wanted.extend(ids.into_iter().map(|id| (id, (request.prompt.clone(), 1 + random.below(40) as usize))));
            }
            simulation.step();
            let ids: Vec<SequenceId> = wanted.keys().copied().collect();
            for id in ids {
                let is_cancelled = random.below(400) == 0;
                let count = simulation.generated.get(&id).map_or(0, Vec::len);
                if is_cancelled || count == wanted[&id].1 {
                    let (prompt, _) = wanted.remove(&id).expect("wanted");
                    assert_eq!(simulation.end(id), alone(&prompt, count));
                    checked += 1;
                }
            }
        }
        assert!(simulation.scheduler.is_idle() && wanted.is_empty(), "{} are left", wanted.len());
        assert_eq!(simulation.scheduler.block_usage().0, 0);
        assert!(checked >= 60);
    }
}

#[test]
fn preemption_happens_and_is_counted() {
    let mut simulation = Simulation::new(options(26));
    let ids: Vec<_> =
        (0..4).flat_map(|first| simulation.submit(&request([&[first], &prompt(11)[..]].concat()))).collect();
    while simulation.generated.get(&ids[3]).map_or(0, Vec::len) < 60 {
        simulation.step();
        for &id in &ids[..3] {
            if simulation.generated.get(&id).is_some_and(|tokens| tokens.len() == 60) {
                simulation.end(id);
            }
        }
    }
    let preemptions = simulation.scheduler.counts().preemptions;
    println!("{preemptions} preemptions");
    assert!(preemptions > 0);
    assert_eq!(simulation.end(ids[3]), alone(&[&[3], &prompt(11)[..]].concat(), 60));
}

#[test]
fn the_youngest_of_the_lowest_priority_gives_way() {
    let mut simulation = Simulation::new(options(26));
    let mut submit = |first: u32, priority: u8| {
        let request = SequenceRequest { priority, ..request([&[first], &prompt(19)[..]].concat()) };
        simulation.submit(&request)[0]
    };
    let (old, urgent, young) = (submit(0, 0), submit(1, 1), submit(2, 0));
    while simulation.scheduler.counts().preemptions == 0 {
        simulation.step();
    }
    let running: Vec<SequenceId> = simulation.scheduler.running.iter().map(|next| next.id).collect();
    assert_eq!(running, [urgent, old]);
    assert_eq!(simulation.scheduler.waiting.values().next().map(|next| next.id), Some(young));
}

#[test]
fn a_prefix_that_is_there_is_not_computed_again() {
    let mut simulation = Simulation::new(options(60));
    let first = simulation.submit(&request(prompt(40)))[0];
    (0..4).for_each(|_| drop(simulation.step()));
    simulation.end(first);
    let second = simulation.submit(&request(prompt(42)))[0];
    let plan = simulation.step();
    assert_eq!((plan.chunks[0].sequence, plan.chunks[0].position, plan.chunks[0].tokens.len()), (second, 40, 2));
    let mut salted = request(prompt(42));
    salted.salt = "another caller".to_owned();
    simulation.submit(&salted);
    assert_eq!(simulation.step().chunks[1].position, 0);
    assert_eq!(simulation.scheduler.counts().prefix_hits, 40);
}

#[test]
fn a_prompt_that_is_there_completely_computes_its_last_block_alone() {
    let mut simulation = Simulation::new(options(60));
    let first = simulation.submit(&request(prompt(40)))[0];
    (0..4).for_each(|_| drop(simulation.step()));
    simulation.end(first);
    simulation.submit(&request(prompt(40)));
    let plan = simulation.step();
    assert_eq!((plan.chunks[0].position, plan.chunks[0].tokens.len()), (36, 4));
}

#[test]
fn choices_share_the_prompt_and_copy_a_block_that_is_not_full() {
    for (length, copies) in [(20, 0), (22, 3)] {
        let mut simulation = Simulation::new(options(60));
        let ids = simulation.submit(&SequenceRequest { choices: 4, ..request(prompt(length)) });
        let plan = simulation.scheduler.plan(simulation.now);
        assert_eq!(plan.chunks.len(), 1);
        simulation.scheduler.advance(&plan, MILLISECOND);
        let forks = simulation.scheduler.fork(ids[0]);
        assert_eq!(forks.iter().map(|fork| fork.sequence).collect::<Vec<_>>(), ids[1..]);
        assert_eq!(forks.iter().filter(|fork| fork.copy.is_some()).count(), copies);
        assert_eq!(simulation.scheduler.block_usage().0, 5 + if copies > 0 { 4 } else { 0 });
    }
}

#[test]
fn streams_get_their_token_in_every_step_beside_a_long_prompt() {
    let mut simulation = Simulation::new(options(60));
    let stream = simulation.submit(&request(prompt(5)))[0];
    simulation.step();
    let long = simulation.submit(&request([&[49], &prompt(90)[..]].concat()))[0];
    simulation.scheduler.set_prompt_allowance(8);
    let mut steps = 0;
    while !simulation.generated.contains_key(&long) {
        let plan = simulation.step();
        assert_eq!((plan.chunks[0].sequence, plan.chunks[0].tokens.len()), (stream, 1));
        assert!(plan.chunks.iter().map(|chunk| chunk.tokens.len()).sum::<usize>() <= 9);
        steps += 1;
    }
    assert_eq!(steps, 91_usize.div_ceil(8));
}

#[test]
fn a_short_prompt_does_not_wait_for_the_end_of_a_long_one() {
    let mut simulation = Simulation::new(options(60));
    let long = simulation.submit(&request([&[49], &prompt(90)[..]].concat()))[0];
    let short = simulation.submit(&request(prompt(6)))[0];
    let plan = simulation.step();
    let lengths: Vec<_> = plan.chunks.iter().map(|chunk| (chunk.sequence, chunk.tokens.len())).collect();
    assert_eq!(lengths, [(long, 18), (short, 6)]);
}

#[test]
fn higher_priority_goes_first_and_then_arrival() {
    let mut options = options(60);
    options.running_max = 1;
    let mut simulation = Simulation::new(options);
    let mut submit = |priority| simulation.submit(&SequenceRequest { priority, ..request(prompt(5)) })[0];
    let (first, second, urgent) = (submit(0), submit(0), submit(200));
    for expected in [urgent, first, second] {
        assert_eq!(simulation.step().chunks[0].sequence, expected);
        simulation.end(expected);
    }
}

#[test]
fn the_queue_is_bounded_and_refuses_at_once() {
    let now = Instant::now();
    let mut options = options(60);
    (options.waiting_max, options.waiting_tokens_max) = (3, 100);
    let mut by_count = scheduler(options.clone(), now);
    by_count.submit(&request(prompt(5)), now).expect("taken in");
    let three = SequenceRequest { choices: 3, ..request(prompt(5)) };
    assert_eq!(by_count.submit(&three, now).expect_err("full").reason, Reason::Overloaded);
    by_count.submit(&SequenceRequest { choices: 2, ..three }, now).expect("taken in");
    assert_eq!(by_count.submit(&request(prompt(5)), now).expect_err("full").reason, Reason::Overloaded);
    let mut by_tokens = scheduler(options, now);
    by_tokens.submit(&request(prompt(60)), now).expect("taken in");
    assert_eq!(by_tokens.submit(&request(prompt(41)), now).expect_err("full").reason, Reason::Overloaded);
    by_tokens.submit(&request(prompt(40)), now).expect("taken in");
    assert_eq!(by_tokens.counts().refused, 1);
}

#[test]
fn prompts_that_can_never_fit_are_the_callers_fault() {
    let now = Instant::now();
    let mut roomy = scheduler(options(60), now);
    assert_eq!(roomy.submit(&request(prompt(100)), now).expect_err("too long").reason, Reason::InvalidArgument);
    assert!(roomy.submit(&request(prompt(99)), now).is_ok());
    let mut narrow = scheduler(options(5), now);
    assert_eq!(narrow.submit(&request(prompt(20)), now).expect_err("too long").reason, Reason::InvalidArgument);
    assert!(narrow.submit(&request(prompt(19)), now).is_ok());
    for request in [request(Vec::new()), SequenceRequest { choices: 17, ..request(prompt(1)) }] {
        assert_eq!(roomy.submit(&request, now).expect_err("refused").reason, Reason::InvalidArgument);
    }
}

#[test]
fn a_deadline_that_passed_ends_a_sequence_wherever_it_is() {
    let mut options = options(60);
    options.running_max = 1;
    let mut simulation = Simulation::new(options);
    let deadline = Some(simulation.now + 10 * MILLISECOND);
    let timed = SequenceRequest { deadline, choices: 2, ..request(prompt(5)) };
    let ids: Vec<SequenceId> = (0..2).flat_map(|_| simulation.submit(&timed)).collect();
    for _ in 0..9 {
        assert!(simulation.step().expired.is_empty());
    }
    let mut expired = simulation.step().expired;
    expired.sort();
    assert_eq!(expired, ids);
    assert!(simulation.scheduler.is_idle());
    assert_eq!(simulation.scheduler.block_usage().0, 0);
    let late = simulation.scheduler.submit(&timed, simulation.now).expect_err("too late");
    assert_eq!(late.reason, Reason::DeadlineExceeded);
}

#[test]
fn what_would_still_wait_at_its_deadline_is_refused_at_once() {
    let mut simulation = Simulation::new(options(60));
    // 24 tokens a millisecond, for long enough to be believed.
    for first in 0..30 {
        let id = simulation.submit(&request([&[first], &prompt(47)[..]].concat()))[0];
        while !simulation.generated.contains_key(&id) {
            simulation.step();
        }
        simulation.end(id);
    }
    for first in 0..20 {
        simulation.submit(&request([&[first, 9], &prompt(58)[..]].concat()));
    }
    let after = |milliseconds: u32| Some(simulation.now + milliseconds * MILLISECOND);
    let (soon, late) = (after(30), after(2_000));
    let hurried = SequenceRequest { deadline: soon, ..request(prompt(5)) };
    assert_eq!(simulation.scheduler.submit(&hurried, simulation.now).expect_err("no").reason, Reason::Overloaded);
    assert!(simulation.scheduler.submit(&SequenceRequest { priority: 9, ..hurried.clone() }, simulation.now).is_ok());
    assert!(simulation.scheduler.submit(&SequenceRequest { deadline: late, ..hurried }, simulation.now).is_ok());
}
