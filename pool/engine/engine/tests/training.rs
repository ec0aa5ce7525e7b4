//! A classic model from training to answering, through the engine's operations and a real backend.
#![cfg(feature = "smartcore")]

mod support;

use contract::engine::{Operation, Status};
use contract::v1::*;
use engine::{Engine, EngineConfig, IncomingCall};
use engine_core::CallContext;
use prost::Message;
use std::time::{Duration, Instant};
use support::*;

#[test]
fn a_trained_regression_answers_as_a_version_of_the_repository_also_after_a_restart() {
    let folder = Folder::new();
    let config = EngineConfig { repository: folder.0.clone(), threads: 1, ..EngineConfig::default() };
    let engine = Engine::open(config.clone()).expect("opens");
    let features: Vec<f32> = (0..20).map(|index| index as f32).collect();
    let targets: Vec<f32> = features.iter().map(|value| 2.0 * value + 1.0).collect();
    let request = TrainModelRequest {
        model: "line".into(),
        backend: "smartcore".into(),
        algorithm: "linear-regression".into(),
        tensors: vec![fp32("features", &[20, 1]), fp32("targets", &[20])],
        ..TrainModelRequest::default()
    };
    let payload = [bytes(&features), bytes(&targets)];
    let payload = payload.each_ref().map(Vec::as_slice);
    let (response, _) = call::<TrainModelResponse>(&engine, Operation::TrainModel, &request, &payload).expect("trains");
    let model = response.model.expect("a model");
    assert_eq!((model.version.as_str(), model.state()), ("1", ModelState::Ready));
    let input = model.inputs[0].clone();
    drop(engine);
    let engine = Engine::open(config).expect("opens again");
    let tensor = Tensor { name: input.name, ..fp32("", &[2, 1]) };
    let request = InferRequest { model: "line".into(), inputs: vec![tensor], ..InferRequest::default() };
    let rows = bytes(&[100.0, -3.0]);
    let (_, outputs) = call::<InferResponse>(&engine, Operation::Infer, &request, &[&rows]).expect("answers");
    let answers = outputs[0].view().to_f64().expect("numbers");
    assert!((answers[0] - 201.0).abs() < 0.1 && (answers[1] + 5.0).abs() < 0.1, "{answers:?}");
}

/// The library's forest is one call that nothing ends early: it goes on where nobody waits for it.
#[test]
fn a_training_that_is_cancelled_or_too_late_answers_at_once_and_leaves_no_model() {
    let folder = Folder::new();
    let config = EngineConfig { repository: folder.0.clone(), threads: 1, ..EngineConfig::default() };
    let engine = Engine::open(config).expect("opens");
    const ROWS: usize = 20_000;
    let features: Vec<f32> = (0..ROWS * 8).map(|index| (index * 7919 % 1_000) as f32).collect();
    let targets: Vec<f32> = (0..ROWS).map(|index| (index * 31 % 17) as f32).collect();
    let request = TrainModelRequest {
        model: "forest".into(),
        backend: "smartcore".into(),
        algorithm: "random-forest-regression".into(),
        parameters: [("trees".to_owned(), Parameter { value: Some(parameter::Value::Int64Value(2_000)) })].into(),
        tensors: vec![fp32("features", &[ROWS as i64, 8]), fp32("targets", &[ROWS as i64])],
    };
    let payload = [bytes(&features), bytes(&targets)];
    let payload = payload.each_ref().map(Vec::as_slice);
    let header = request.encode_to_vec();
    let train = |context: CallContext| {
        engine
            .call(&IncomingCall { operation: Operation::TrainModel, context, header: &header, payload: &payload })
            .status
    };
    let context = CallContext::default();
    let cancelled = context.clone();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        cancelled.cancel();
    });
    assert_eq!(train(context), Status::Cancelled);
    canceller.join().expect("it cancels");
    let mut late = CallContext::default();
    late.deadline = Some(Instant::now() + Duration::from_millis(50));
    assert_eq!(train(late), Status::DeadlineExceeded);
    assert!(!folder.0.join("forest").exists());
}
