//! What the engine costs by itself, and what batching brings. `cargo run --release -p engine --no-default-features
//! --example measure_batching`

use contract::engine::{EngineStats, Operation};
use contract::v1::{InferRequest, Parameter, Tensor as Declared, TensorInfo};
use engine::{Engine, EngineConfig, IncomingCall, ReplyPayload};
use engine_core::{
    Backend, CallContext, Capability, EngineError, Model, ModelDescription, ModelSource, Tensor, TensorView,
};
use prost::Message;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Floats taken and given by the layer: 32 MB of weights, more than the cache holds.
const WIDTH: usize = 2896;
/// How long each line is measured.
const MEASURED: Duration = Duration::from_secs(2);

/// One dense layer, as large models have many: a row costs the reading of all weights, and further rows nearly nothing.
struct Dense;

impl Backend for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn load(&self, _source: &ModelSource) -> Result<Arc<dyn Model>, EngineError> {
        let input = TensorInfo { name: "x".into(), datatype: "FP32".into(), shape: vec![-1, WIDTH as i64] };
        Ok(Arc::new(DenseModel {
            weights: (0..WIDTH * WIDTH).map(|index| (index % 97) as f32 * 1e-3).collect(),
            description: ModelDescription {
                backend: "dense",
                capabilities: vec![Capability::Infer],
                inputs: vec![input],
                batch_size_max: 64,
                ..ModelDescription::default()
            },
        }))
    }
}

struct DenseModel {
    weights: Vec<f32>,
    description: ModelDescription,
}

impl Model for DenseModel {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn infer(
        &self,
        call: &CallContext,
        inputs: &[TensorView<'_>],
        _parameters: &BTreeMap<String, Parameter>,
    ) -> Result<Vec<Tensor>, EngineError> {
        let input = &inputs[0];
        let values: Vec<f32> = input.data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let output = Tensor::fill_f32(call, "y", input.shape.to_vec(), values.len(), |out| {
            for (column, weights) in self.weights.chunks_exact(WIDTH).enumerate() {
                for (row, out) in values.chunks_exact(WIDTH).zip(out.chunks_exact_mut(WIDTH)) {
                    out[column] = dot(weights, row);
                }
            }
        });
        Ok(vec![output])
    }
}

/// With as many sums at once as the compiler needs for vector instructions.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    for (left, right) in left.as_chunks::<16>().0.iter().zip(right.as_chunks::<16>().0) {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * right;
        }
    }
    sums.iter().sum()
}

fn manifest(folder: &Path, name: &str, json: &str) {
    std::fs::create_dir_all(folder.join(name)).expect("a folder");
    std::fs::write(folder.join(name).join("model.json"), json).expect("a manifest");
}

fn infer(model: &str, width: usize) -> (Vec<u8>, Vec<u8>) {
    let shape = vec![1, width as i64];
    let input = Declared { name: "x".into(), datatype: "FP32".into(), shape, ..Declared::default() };
    let request = InferRequest { model: model.into(), inputs: vec![input], ..InferRequest::default() };
    (request.encode_to_vec(), vec![0; width * 4])
}

/// Nanoseconds a call, one thread.
fn nanoseconds(engine: &Engine, operation: Operation, header: &[u8], segment: &[u8]) -> f64 {
    let payload = [segment];
    let mut calls = 0_u64;
    let begun = Instant::now();
    while begun.elapsed() < MEASURED / 4 {
        for _ in 0..64 {
            let context = CallContext::without_cancellation();
            std::hint::black_box(engine.call(&IncomingCall { operation, context, header, payload: &payload }));
        }
        calls += 64;
    }
    begun.elapsed().as_nanos() as f64 / calls as f64
}

/// Calls a second with so many callers, each of which calls again as soon as it is answered.
fn calls_a_second(engine: &Engine, model: &str, callers: usize) -> f64 {
    let (header, segment) = infer(model, WIDTH);
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let context = CallContext::default();
                    let payload = [segment.as_slice()];
                    let call =
                        IncomingCall { operation: Operation::Infer, context, header: &header, payload: &payload };
                    let reply = engine.call(&call);
                    assert!(matches!(reply.payload, ReplyPayload::Tensors(tensors) if tensors.len() == 1));
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(MEASURED);
        stop.store(true, Ordering::Relaxed);
    });
    calls.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// Calls in a batch since the start.
fn batches(engine: &Engine) -> (u64, u64) {
    let call = IncomingCall { operation: Operation::Stats, context: CallContext::default(), header: &[], payload: &[] };
    let stats = EngineStats::decode(&*engine.call(&call).header).expect("stats");
    (stats.batches, stats.batched_calls)
}

fn main() {
    let folder = std::env::temp_dir().join(format!("engine-measure-{}", std::process::id()));
    manifest(&folder, "same", r#"{"backend": "identity"}"#);
    manifest(&folder, "singly", r#"{"backend": "dense"}"#);
    manifest(&folder, "batched", r#"{"backend": "dense", "batching": {"size_max": 32}}"#);
    manifest(&folder, "waiting", r#"{"backend": "dense", "batching": {"size_max": 32, "wait_us": 500}}"#);
    let config = EngineConfig { repository: folder.clone(), ..EngineConfig::default() };
    let same = Engine::open(config.clone()).expect("opens");
    println!("nanoseconds a call, one thread");
    for bytes in [64, 64 << 10, 1 << 20, 16 << 20] {
        let segment = vec![1; bytes];
        let echo = nanoseconds(&same, Operation::Echo, &[], &segment);
        let sum = nanoseconds(&same, Operation::Sum, &[], &segment);
        let (header, segment) = infer("same", bytes / 4);
        let identity = nanoseconds(&same, Operation::Infer, &header, &segment);
        println!("{bytes:>9} bytes  echo {echo:>8.1}  sum {sum:>10.1}  infer of the identity model {identity:>10.1}");
    }
    let dense = Engine::with_backends(config, vec![Arc::new(Dense)]).expect("opens");
    println!("calls a second, a dense layer of {WIDTH} x {WIDTH} on one row, each call on its caller's thread");
    for callers in [1, 2, 4, 16, 64] {
        let singly = calls_a_second(&dense, "singly", callers);
        let before = batches(&dense);
        let batched = calls_a_second(&dense, "batched", callers);
        let between = batches(&dense);
        let waiting = calls_a_second(&dense, "waiting", callers);
        let after = batches(&dense);
        let size = |from: (u64, u64), to: (u64, u64)| (to.1 - from.1) as f64 / (to.0 - from.0).max(1) as f64;
        println!(
            "{callers:>3} callers  singly {singly:>8.0}  batched {batched:>8.0} (of {:.1})  waiting 500 us {waiting:>8.0} (of {:.1})",
            size(before, between),
            size(between, after)
        );
    }
    let _ = std::fs::remove_dir_all(folder);
}
