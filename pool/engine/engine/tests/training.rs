//! A classic model from training to answering, through the engine's operations and a real backend.
#![cfg(feature = "smartcore")]

mod support;

use contract::engine::Operation;
use contract::v1::*;
use engine::{Engine, EngineConfig};
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
