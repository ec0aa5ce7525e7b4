//! Threads that take calls from the queue. One of them leads: it watches the queue. Before it does a call that may last, it
//! lets another one lead, so that a call costs one wake-up and no call waits behind another; cancellations are read even
//! where every thread is busy ("leader and followers", Schmidt et al. 2000).

use super::memory::Memory;
use super::replies::Replies;
use super::reply_memory::{Output, ReplyMemory};
use super::{calls, sink};
use contract::engine::Operation;
use engine::{Engine, IncomingCall, OutgoingReply};
use engine_core::buffer::OutputMemory;
use engine_core::guard::guarded;
use engine_core::{CallContext, EngineError, Reason};
use ring::layout::{CALL_PIECES, CallSlot, OPERATION_CANCEL, control};
use ring::patience::Patience;
use ring::queue::Reader;
use ring::region::Region;
use ring::wake;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Threads that do calls, at most. They sleep unless there is work; batching wants many calls in the engine at once.
const THREADS_MAX: usize = 128;
/// Calls that wait for a thread, at most.
const WAITING_MAX: usize = 4096;
/// How often the leader looks after memory that the server released, while no call comes.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// Takes calls, gives them to the engine, and its replies to the server.
pub struct Dispatcher {
    engine: Arc<Engine>,
    control: Arc<Region>,
    requests: Arc<Region>,
    memory: Arc<ReplyMemory>,
    output: Arc<dyn OutputMemory>,
    replies: Replies,
    /// The leader's alone.
    incoming: Mutex<Incoming>,
    threads: Mutex<Threads>,
    leadership_free: Condvar,
    /// Calls that can be cancelled.
    running: Mutex<HashMap<u64, CallContext>>,
}

/// The reading end of the call queue, and how its reader waits.
struct Incoming {
    reader: Reader<CallSlot>,
    patience: Patience,
}

#[derive(Default)]
struct Threads {
    count: usize,
    idle: usize,
    has_leader: bool,
    waiting: VecDeque<(CallSlot, CallContext)>,
}

/// What a thread does next.
#[expect(
    clippy::large_enum_variant,
    reason = "it is on its way for a moment; a box would be an allocation for each call"
)]
enum Turn {
    Lead,
    Do(CallSlot, CallContext),
}

impl Dispatcher {
    /// A dispatcher over the server's memory.
    pub fn new(engine: Arc<Engine>, memory: Memory) -> Result<Arc<Self>, String> {
        let reply_memory = ReplyMemory::new(memory.replies, memory.control.clone(), memory.release_reader)
            .map(Arc::new)
            .ok_or_else(|| "The reply arena's length must be a power of two.".to_owned())?;
        let replies = Replies::new(reply_memory.clone(), memory.control.clone(), memory.wake, memory.reply_writer);
        Ok(Arc::new(Self {
            engine,
            control: memory.control,
            requests: memory.requests,
            output: Arc::new(Output(reply_memory.clone())),
            memory: reply_memory,
            replies,
            incoming: Mutex::new(Incoming {
                reader: memory.call_reader,
                patience: Patience::new(std::thread::available_parallelism().map_or(1, usize::from)),
            }),
            threads: Mutex::default(),
            leadership_free: Condvar::new(),
            running: Mutex::default(),
        }))
    }

    /// Serves for ever; the thread that watches the server ends the process.
    pub fn run(self: Arc<Self>) -> Result<(), String> {
        let outbox = self.clone();
        spawn("outbox", move || outbox.replies.run_outbox()).map_err(|error| format!("No thread: {error}."))?;
        self.threads().count = 1;
        self.work()
    }

    /// The way back to the server.
    pub fn replies(&self) -> &Replies {
        &self.replies
    }

    /// A call has ended.
    pub fn forget(&self, call: u64) {
        lock(&self.running).remove(&call);
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        lock(&self.threads)
    }

    fn work(self: Arc<Self>) -> ! {
        loop {
            let (slot, context) = match self.next_turn() {
                Turn::Do(slot, context) => (slot, context),
                Turn::Lead => self.lead(),
            };
            self.do_call(&slot, context);
        }
    }

    fn next_turn(&self) -> Turn {
        let mut threads = self.threads();
        loop {
            if let Some((slot, context)) = threads.waiting.pop_front() {
                return Turn::Do(slot, context);
            }
            if !threads.has_leader {
                threads.has_leader = true;
                return Turn::Lead;
            }
            threads.idle += 1;
            threads = self.leadership_free.wait(threads).unwrap_or_else(PoisonError::into_inner);
            threads.idle -= 1;
        }
    }

    /// Watches the queue until there is a call that may last and somebody else to watch on; returns that call.
    fn lead(self: &Arc<Self>) -> (CallSlot, CallContext) {
        loop {
            let slot = self.next_call();
            if slot.operation == OPERATION_CANCEL {
                if let Some(context) = lock(&self.running).get(&slot.call) {
                    context.cancel();
                }
                continue;
            }
            let is_short = calls::operation(&slot).is_ok_and(|operation| calls::is_short(operation, &slot));
            let mut context = calls::context(&slot, is_short, Instant::now());
            context.output = Some(self.output.clone());
            if is_short {
                self.do_call(&slot, context);
                continue;
            }
            lock(&self.running).insert(slot.call, context.clone());
            if self.hand_leadership_on() {
                return (slot, context);
            }
            self.put_aside(slot, context);
        }
    }

    fn next_call(&self) -> CallSlot {
        let mut incoming = lock(&self.incoming);
        let Incoming { reader, patience } = &mut *incoming;
        let mut waiting_since = None;
        loop {
            match reader.pop() {
                Ok(Some(slot)) => {
                    if let Some(since) = waiting_since {
                        patience.learn(Instant::now().saturating_duration_since(since));
                    }
                    return slot;
                }
                Ok(None) => {}
                Err(_) => end("The server spoiled the call queue."),
            }
            let since = *waiting_since.get_or_insert_with(Instant::now);
            if !patience.watch(|| reader.is_filled()) {
                self.sleep(reader, since);
            }
        }
    }

    /// Sleeps until the server has written a call, or for a while.
    fn sleep(&self, reader: &Reader<CallSlot>, since: Instant) {
        let sleepers = self.control.word(control::CALLS_SLEEPERS);
        sleepers.store(1, Ordering::SeqCst);
        wake::wait(reader.queue().tail(), reader.position(), IDLE_INTERVAL);
        sleepers.store(0, Ordering::SeqCst);
        if since.elapsed() >= IDLE_INTERVAL {
            self.memory.collect();
        }
    }

    /// Lets an idle thread lead, or a new one; false where all threads there may be are busy.
    fn hand_leadership_on(self: &Arc<Self>) -> bool {
        let mut threads = self.threads();
        if threads.idle == 0 {
            let next = self.clone();
            if threads.count >= THREADS_MAX || spawn("calls", move || next.work()).is_err() {
                return false;
            }
            threads.count += 1;
        }
        threads.has_leader = false;
        drop(threads);
        self.leadership_free.notify_one();
        true
    }

    fn put_aside(&self, slot: CallSlot, context: CallContext) {
        let mut threads = self.threads();
        if threads.waiting.len() < WAITING_MAX {
            threads.waiting.push_back((slot, context));
            return;
        }
        drop(threads);
        self.forget(slot.call);
        let error = EngineError::new(Reason::Overloaded, "Every thread of the engine is busy.");
        self.replies.send(slot.call, OutgoingReply::failure(&error));
    }

    fn do_call(self: &Arc<Self>, slot: &CallSlot, context: CallContext) {
        if slot.operation == Operation::Generate as u32 {
            return self.generate(slot, context);
        }
        let reply = self.answer(slot, context).unwrap_or_else(|error| OutgoingReply::failure(&error));
        self.forget(slot.call);
        self.replies.send(slot.call, reply);
    }

    fn answer(&self, slot: &CallSlot, context: CallContext) -> Result<OutgoingReply, EngineError> {
        let operation = calls::operation(slot)?;
        let (mut few, mut many) = ([&[][..]; CALL_PIECES], Vec::new());
        let (header, payload) = calls::borrow(&self.requests, slot, &mut few, &mut many)?;
        guarded(|| Ok(self.engine.call(&IncomingCall { operation, context, header, payload })))
    }

    fn generate(self: &Arc<Self>, slot: &CallSlot, context: CallContext) {
        let begun = || {
            let (mut few, mut many) = ([&[][..]; CALL_PIECES], Vec::new());
            let (header, _) = calls::borrow(&self.requests, slot, &mut few, &mut many)?;
            let sink = Box::new(sink::Sink::new(self.clone(), slot.call));
            guarded(|| self.engine.generate(context, header, sink))
        };
        if let Err(error) = begun() {
            self.forget(slot.call);
            self.replies.send(slot.call, OutgoingReply::failure(&error));
        }
    }
}

/// Ends the process: what the server wrote cannot be trusted any more, and it will start another one.
pub fn end(sentence: &str) -> ! {
    eprintln!("{sentence}");
    std::process::exit(2)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(|_| ())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
