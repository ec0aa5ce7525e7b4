//! Several calls as one: who goes with whom, and that nobody suffers for it.

use contract::engine::EngineStats;
use contract::v1::{Parameter, TensorInfo};
use engine_core::batching::{BatchWork, Batcher, TensorInput, TensorWork, tensor_rows};
use engine_core::repository::manifest::BatchingSettings;
use engine_core::{CallContext, DataType, EngineError, Model, ModelDescription, Reason, Tensor, TensorView};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Squares numbers, when the gate is open. Negative numbers fail, and 13 panics.
#[derive(Default)]
struct Squares {
    closed: Mutex<bool>,
    opened: Condvar,
    batches: Mutex<Vec<Vec<i64>>>,
    running: AtomicUsize,
    running_most: AtomicUsize,
}

impl Squares {
    fn closed() -> Arc<Self> {
        Arc::new(Self { closed: Mutex::new(true), ..Self::default() })
    }

    fn open(&self) {
        *self.closed.lock().expect("whole") = false;
        self.opened.notify_all();
    }

    fn batches(&self) -> Vec<Vec<i64>> {
        self.batches.lock().expect("whole").clone()
    }

    fn run(&self, numbers: Vec<i64>) -> Result<Vec<i64>, EngineError> {
        self.running_most.fetch_max(self.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        self.batches.lock().expect("whole").push(numbers.clone());
        drop(self.opened.wait_while(self.closed.lock().expect("whole"), |closed| *closed).expect("whole"));
        self.running.fetch_sub(1, Ordering::SeqCst);
        assert!(!numbers.contains(&13), "as asked");
        match numbers.iter().find(|number| **number < 0) {
            Some(number) => Err(EngineError::new(Reason::InvalidArgument, format!("{number} is negative."))),
            None => Ok(numbers.iter().map(|number| number * number).collect()),
        }
    }
}

struct Work(Arc<Squares>);

impl BatchWork for Work {
    type Input = i64;
    type Output = i64;

    /// Numbers up to 1000, and numbers above, are different kinds.
    fn fits(&self, left: &i64, right: &i64) -> bool {
        (*left <= 1000) == (*right <= 1000)
    }

    fn run_one(&self, _call: &CallContext, number: &i64) -> Result<i64, EngineError> {
        self.0.run(vec![*number]).map(|squares| squares[0])
    }

    fn run_many(&self, _batch: &CallContext, calls: &[(&CallContext, &i64)]) -> Result<Vec<i64>, EngineError> {
        self.0.run(calls.iter().map(|(_, number)| **number).collect())
    }
}

fn settings(size_max: usize) -> BatchingSettings {
    BatchingSettings { size_max, ..BatchingSettings::default() }
}

fn ask(batcher: &Batcher<Work>, squares: &Arc<Squares>, call: &CallContext, number: i64) -> Result<i64, EngineError> {
    batcher.call(call, 1, || squares.run(vec![number]).map(|squares| squares[0]), || number)
}

fn waiting(batcher: &Batcher<Work>) -> u32 {
    let mut stats = EngineStats::default();
    batcher.add_stats(&mut stats);
    stats.waiting
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "it never came about that {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Lets call 0 run behind the closed gate, has the others wait in order, opens the gate, and gives all results.
fn behind_a_gate(
    batcher: &Batcher<Work>,
    squares: &Arc<Squares>,
    numbers: &[(i64, CallContext)],
    while_closed: impl FnOnce(),
) -> Vec<Result<i64, EngineError>> {
    std::thread::scope(|scope| {
        let first = scope.spawn(|| ask(batcher, squares, &CallContext::default(), 0));
        until("the first call runs", || squares.batches().len() == 1);
        let mut threads = vec![first];
        for (index, (number, call)) in numbers.iter().enumerate() {
            threads.push(scope.spawn(move || ask(batcher, squares, call, *number)));
            until("the call waits", || waiting(batcher) == index as u32 + 1);
        }
        while_closed();
        squares.open();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn plain(numbers: impl IntoIterator<Item = i64>) -> Vec<(i64, CallContext)> {
    numbers.into_iter().map(|number| (number, CallContext::default())).collect()
}

#[test]
fn calls_that_come_while_one_runs_are_answered_as_one_each_with_its_own() {
    let squares = Squares::closed();
    let batcher = Batcher::new(Work(Arc::clone(&squares)), settings(8));
    let results = behind_a_gate(&batcher, &squares, &plain(1..=5), || {});
    assert_eq!(results, [0, 1, 4, 9, 16, 25].map(Ok));
    assert_eq!(squares.batches(), [vec![0], vec![1, 2, 3, 4, 5]]);
    let mut stats = EngineStats::default();
    batcher.add_stats(&mut stats);
    assert_eq!((stats.batches, stats.batched_calls, stats.waiting, stats.waiting_max), (2, 6, 0, 1024));
}

#[test]
fn a_batch_is_never_larger_than_it_may_be_and_holds_one_kind_alone() {
    let squares = Squares::closed();
    let batcher = Batcher::new(Work(Arc::clone(&squares)), settings(3));
    behind_a_gate(&batcher, &squares, &plain([1, 2000, 2, 2001, 3, 4]), || {});
    assert_eq!(squares.batches(), [vec![0], vec![1, 2, 3], vec![2000, 2001], vec![4]]);
}

#[test]
fn higher_priority_goes_first() {
    let squares = Squares::closed();
    let batcher = Batcher::new(Work(Arc::clone(&squares)), settings(2));
    let mut calls = plain(1..=4);
    calls[3].1.priority = 9;
    behind_a_gate(&batcher, &squares, &calls, || {});
    assert_eq!(squares.batches(), [vec![0], vec![4, 1], vec![2, 3]]);
}

#[test]
fn one_failing_or_panicking_call_fails_alone() {
    for (bad, reason) in [(-7, Reason::InvalidArgument), (13, Reason::Internal)] {
        let squares = Squares::closed();
        let batcher = Batcher::new(Work(Arc::clone(&squares)), settings(8));
        let results = behind_a_gate(&batcher, &squares, &plain([1, bad, 3]), || {});
        assert_eq!(results[2].as_ref().map_err(|error| error.reason), Err(reason));
        assert_eq!([&results[0], &results[1], &results[3]], [&Ok(0), &Ok(1), &Ok(9)]);
        assert_eq!(squares.batches(), [vec![0], vec![1, bad, 3], vec![bad], vec![3], vec![1]]);
    }
}

#[test]
fn one_call_too_many_is_refused_at_once() {
    let squares = Squares::closed();
    let batcher = Batcher::new(Work(Arc::clone(&squares)), BatchingSettings { queue_max: 2, ..settings(8) });
    let results = behind_a_gate(&batcher, &squares, &plain([1, 2]), || {
        let error = ask(&batcher, &squares, &CallContext::default(), 3).expect_err("full");
        assert_eq!(
            (error.reason, error.message.as_str()),
            (Reason::Overloaded, "2 calls wait for this model already; try again later.")
        );
    });
    assert_eq!(results, [0, 1, 4].map(Ok));
}

#[test]
fn a_waiting_call_leaves_at_its_deadline_or_when_it_is_cancelled() {
    let squares = Squares::closed();
    let batcher = Batcher::new(Work(Arc::clone(&squares)), settings(8));
    let mut calls = plain(1..=3);
    calls[0].1.deadline = Some(Instant::now() + Duration::from_millis(100));
    let cancelled = calls[1].1.clone();
    let results = behind_a_gate(&batcher, &squares, &calls, || {
        cancelled.cancel();
        until("two have left", || waiting(&batcher) == 1);
    });
    assert_eq!(results[1].as_ref().map_err(|error| error.reason), Err(Reason::DeadlineExceeded));
    assert_eq!(results[2].as_ref().map_err(|error| error.reason), Err(Reason::Cancelled));
    assert_eq!(results[3], Ok(9));
    assert_eq!(squares.batches(), [vec![0], vec![3]]);
}

#[test]
fn a_leader_waits_for_others_but_not_once_the_batch_is_full() {
    let squares = Arc::new(Squares::default());
    let waits = BatchingSettings { wait_us: 1_000_000, ..settings(4) };
    let batcher = Batcher::new(Work(Arc::clone(&squares)), waits);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=4)
            .map(|number| {
                scope.spawn({
                    let (batcher, squares) = (&batcher, &squares);
                    move || ask(batcher, squares, &CallContext::default(), number)
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| assert!(thread.join().expect("no panic").is_ok()));
    });
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    assert_eq!(squares.batches().iter().map(Vec::len).collect::<Vec<_>>(), [4]);
    let short = BatchingSettings { wait_us: 50_000, ..settings(4) };
    let batcher = Batcher::new(Work(Arc::clone(&squares)), short);
    let begun = Instant::now();
    assert_eq!(ask(&batcher, &squares, &CallContext::default(), 5), Ok(25));
    assert!(begun.elapsed() >= Duration::from_millis(50), "a lone call waits as long as it was told");
}

#[test]
fn as_many_batches_run_at_once_as_may() {
    let squares = Squares::closed();
    let batcher = Batcher::new(Work(Arc::clone(&squares)), BatchingSettings { parallel: 2, ..settings(2) });
    std::thread::scope(|scope| {
        for number in 1..=9 {
            let (batcher, squares) = (&batcher, &squares);
            scope.spawn(move || ask(batcher, squares, &CallContext::default(), number));
        }
        until("the rest wait", || waiting(&batcher) == 7);
        squares.open();
    });
    assert_eq!(squares.running_most.load(Ordering::SeqCst), 2);
    assert_eq!(waiting(&batcher), 0);
}

#[test]
fn calls_of_all_sorts_at_once_each_get_their_own_answer_and_leave_nothing_behind() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_nanos() as u64;
    println!("seed {seed}");
    let squares = Arc::new(Squares::default());
    let random_settings =
        BatchingSettings { size_max: 5, wait_us: seed % 3 * 100, queue_max: 6, parallel: 1 + seed as usize % 2 };
    let batcher = Batcher::new(Work(Arc::clone(&squares)), random_settings);
    let work = |thread: u64| {
        let mut state = seed ^ (thread + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut answered = 0_u32;
        for _ in 0..500 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let number = (state >> 32) as i64 % 2000 - 100;
            let mut call = CallContext::default();
            match state % 8 {
                0 => call.cancel(),
                1 => call.deadline = Some(Instant::now() + Duration::from_micros(state % 300)),
                _ => call.priority = state as u8,
            }
            let rows = 1 + (state >> 8) as usize % 7;
            match batcher.call(&call, rows, || squares.run(vec![number]).map(|squares| squares[0]), || number) {
                Ok(square) => {
                    assert_eq!(square, number * number);
                    answered += 1;
                }
                Err(error) => match error.reason {
                    Reason::Cancelled => assert!(call.is_cancelled()),
                    Reason::DeadlineExceeded => assert!(call.deadline.is_some()),
                    Reason::InvalidArgument => assert!(number < 0),
                    Reason::Internal => assert_eq!(number, 13),
                    Reason::Overloaded => {}
                    reason => panic!("{reason:?} was not to be expected"),
                },
            }
        }
        answered
    };
    let work = &work;
    let answered: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    println!("{answered} answered");
    assert!(answered > 100 && waiting(&batcher) == 0);
    assert_eq!(ask(&batcher, &squares, &CallContext::default(), 6), Ok(36), "somebody may still lead");
}

/// Doubles `x`, writes each first number of a row as a string, and where it is told, how many rows there were.
struct Rows {
    description: ModelDescription,
    with_total: bool,
    calls: Mutex<Vec<Vec<i64>>>,
}

impl Model for Rows {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn infer(
        &self,
        call: &CallContext,
        inputs: &[TensorView<'_>],
        _parameters: &BTreeMap<String, Parameter>,
    ) -> Result<Vec<Tensor>, EngineError> {
        self.calls.lock().expect("whole").push(inputs[0].shape.to_vec());
        std::thread::sleep(Duration::from_millis(2));
        let values = inputs[0].to_f64()?;
        let shape = inputs[0].shape.to_vec();
        let width = values.len() / shape[0] as usize;
        let mut strings = Vec::new();
        for row in values.chunks_exact(width) {
            let text = row[0].to_string();
            strings.extend_from_slice(&(text.len() as u32).to_le_bytes());
            strings.extend_from_slice(text.as_bytes());
        }
        let doubled: Vec<f64> = values.iter().map(|value| value * 2.0).collect();
        let mut outputs = vec![
            Tensor::from_f64("y", shape.clone(), &doubled),
            Tensor::copy_into(call, "s", DataType::Bytes, vec![shape[0]], &strings),
        ];
        if self.with_total {
            outputs.push(Tensor::from_i64("total", vec![], &[shape[0]]));
        }
        Ok(outputs)
    }
}

fn rows(with_total: bool) -> (Arc<Rows>, Batcher<TensorWork>) {
    let inputs = vec![TensorInfo { name: "x".into(), datatype: "FP64".into(), shape: vec![-1, -1] }];
    let description = ModelDescription { inputs, ..ModelDescription::default() };
    let model = Arc::new(Rows { description, with_total, calls: Mutex::default() });
    let work = TensorWork::new(Arc::clone(&model) as Arc<dyn Model>);
    (model, Batcher::new(work, settings(16)))
}

/// Thirty-two calls with one to three rows of two or three numbers; each must get what it would get alone.
fn rows_at_once(model: &Arc<Rows>, batcher: &Batcher<TensorWork>) {
    std::thread::scope(|scope| {
        for thread in 0..32_i64 {
            scope.spawn(move || {
                let shape = [1 + thread % 3, 2 + thread % 2];
                let values: Vec<f64> = (0..shape[0] * shape[1]).map(|index| (thread * 100 + index) as f64).collect();
                let input = Tensor::from_f64("x", shape.to_vec(), &values);
                let (inputs, none) = ([input.view()], BTreeMap::new());
                let call = CallContext::default();
                let rows = tensor_rows(&inputs).expect("rows");
                let alone = || model.infer(&call, &inputs, &none);
                let outputs = batcher.call(&call, rows, alone, || TensorInput::new(&inputs, &none)).expect("answers");
                assert_eq!(outputs[0].shape, shape);
                assert_eq!(outputs[0].view().to_f64(), Ok(values.iter().map(|value| value * 2.0).collect()));
                let strings: Vec<String> = outputs[1]
                    .view()
                    .byte_strings()
                    .map(|string| String::from_utf8(string.expect("a string").to_vec()).expect("text"))
                    .collect();
                let firsts = values.chunks_exact(shape[1] as usize).map(|row| row[0].to_string());
                assert_eq!(strings, firsts.collect::<Vec<_>>());
            });
        }
    });
}

#[test]
fn tensors_are_stacked_and_each_call_gets_its_rows_of_every_type() {
    let (model, batcher) = rows(false);
    rows_at_once(&model, &batcher);
    let calls = model.calls.lock().expect("whole").clone();
    assert!(calls.len() < 32 && calls.iter().any(|shape| shape[0] > 3), "{calls:?}");
    assert!(calls.iter().all(|shape| shape[0] <= 16), "{calls:?}");
}

#[test]
fn a_model_whose_outputs_have_no_rows_is_noticed_and_answers_call_by_call() {
    let (model, batcher) = rows(true);
    rows_at_once(&model, &batcher);
    let stacked = || model.calls.lock().expect("whole").iter().filter(|shape| shape[0] > 3).count();
    let tried = stacked();
    assert!(tried <= 1, "tried once at most, not {tried} times");
    rows_at_once(&model, &batcher);
    assert_eq!(stacked(), tried, "and not again");
}

#[test]
fn inputs_without_a_common_first_dimension_have_no_rows() {
    let tensor =
        |shape: &[i64]| Tensor::from_f64("x", shape.to_vec(), &vec![0.0; shape.iter().product::<i64>() as usize]);
    let count = |tensors: &[Tensor]| tensor_rows(&tensors.iter().map(Tensor::view).collect::<Vec<_>>());
    assert_eq!(count(&[tensor(&[3, 2]), tensor(&[3])]), Some(3));
    assert_eq!(count(&[tensor(&[3, 2]), tensor(&[2])]), None);
    assert_eq!(count(&[tensor(&[])]), None);
    assert_eq!(count(&[tensor(&[0, 2])]), None);
    assert_eq!(count(&[]), None);
}
