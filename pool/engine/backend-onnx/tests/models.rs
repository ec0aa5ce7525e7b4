//! Models through ONNX Runtime, which must be where the crate searches for it; without it these tests fail, as a node would.

use contract::v1::Parameter;
use engine_core::{CallContext, DataType, EngineError, Model, ModelSource, Reason, Tensor, TensorView};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NONE: BTreeMap<String, Parameter> = BTreeMap::new();

fn source(path: PathBuf, settings: serde_json::Value) -> ModelSource {
    let serde_json::Value::Object(settings) = settings else { panic!("an object was expected") };
    ModelSource {
        name: "example".into(),
        version: 1,
        folder: PathBuf::new(),
        files: BTreeMap::from([("weights".into(), path)]),
        settings,
        threads: 1,
    }
}

fn load(name: &str, settings: serde_json::Value) -> Result<Arc<dyn Model>, EngineError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(name);
    backend_onnx::backend().load(&source(path, settings))
}

fn infer(model: &dyn Model, inputs: &[TensorView<'_>]) -> Result<Vec<Tensor>, EngineError> {
    model.infer(&CallContext::default(), inputs, &NONE)
}

/// Bytes of six elements of each type, all different.
fn six_elements(data_type: DataType) -> Vec<u8> {
    match data_type {
        DataType::Bool => vec![1, 0, 1, 1, 0, 0],
        DataType::Bytes => ["", "a", "äöü", "東京", "\n", "long enough not to be kept in place by any string type"]
            .iter()
            .flat_map(|text| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat())
            .collect(),
        // Any pattern of bits is a number; these are no NaN in any of the types, so that equality holds.
        _ => (0..6 * data_type.size()).map(|index| (index as u8).wrapping_mul(37) & 0x3f).collect(),
    }
}

#[test]
fn every_type_goes_through_unchanged() {
    let model = load("identity.onnx", serde_json::json!({})).unwrap();
    let named: Vec<_> = DataType::ALL
        .into_iter()
        .map(|data_type| (data_type, format!("in_{}", data_type.name()), six_elements(data_type)))
        .collect();
    let inputs: Vec<_> =
        named.iter().map(|(data_type, name, data)| TensorView::new(name, *data_type, &[2, 3], data).unwrap()).collect();
    let outputs = infer(model.as_ref(), &inputs).unwrap();
    assert_eq!(outputs.len(), DataType::ALL.len());
    for (output, (data_type, _, data)) in outputs.iter().zip(&named) {
        assert_eq!(
            (output.name.as_str(), output.data_type),
            (format!("out_{}", data_type.name()).as_str(), *data_type)
        );
        assert_eq!(output.shape, [2, 3]);
        assert_eq!(output.view().data, data.as_slice(), "{}", data_type.name());
    }
}

#[test]
fn misaligned_inputs_and_empty_batches_are_answered() {
    let model = load("affine.onnx", serde_json::json!({})).unwrap();
    let numbers: Vec<u8> = [1.0_f32, 2.0].iter().flat_map(|number| number.to_le_bytes()).collect();
    for offset in 0..8 {
        let mut shifted = vec![0; offset];
        shifted.extend_from_slice(&numbers);
        let input = TensorView::new("x", DataType::Fp32, &[1, 2], &shifted[offset..]).unwrap();
        let outputs = infer(model.as_ref(), &[input]).unwrap();
        assert_eq!(outputs[0].view().to_f64().unwrap(), [17.0, 30.0], "offset {offset}");
    }
    let empty = TensorView::new("x", DataType::Fp32, &[0, 2], &[]).unwrap();
    let outputs = infer(model.as_ref(), &[empty]).unwrap();
    assert_eq!((outputs[0].shape.as_slice(), outputs[0].view().data.len()), ([0, 2].as_slice(), 0));
}

#[test]
fn what_a_model_declares_is_described_and_enforced() {
    let model = load("affine.onnx", serde_json::json!({})).unwrap();
    let description = model.description();
    assert_eq!((description.backend, description.batch_size_max), ("onnx", 32));
    assert_eq!((description.inputs[0].name.as_str(), description.inputs[0].datatype.as_str()), ("x", "FP32"));
    assert_eq!(description.inputs[0].shape, [-1, 2]);

    let fixed = load("fixed.onnx", serde_json::json!({})).unwrap();
    assert_eq!(fixed.description().batch_size_max, 0);
    let x = Tensor::from_f64("x", vec![2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let factor = Tensor::from_f64("factor", vec![], &[2.0]);
    let outputs = infer(fixed.as_ref(), &[factor.view(), x.view()]).unwrap();
    assert_eq!(outputs[0].view().to_f64().unwrap(), [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);

    let wrong = Tensor::from_f64("x", vec![3, 2], &[0.0; 6]);
    let error = infer(fixed.as_ref(), &[wrong.view(), factor.view()]).unwrap_err();
    assert_eq!((error.reason, error.parameter.as_deref()), (Reason::InvalidArgument, Some("x")));
    assert!(error.message.contains("[3, 2]; the model takes [2, 3]"), "{error}");
}

#[test]
fn strings_that_onnx_cannot_hold_and_bools_that_are_none_are_refused() {
    let model = load("identity.onnx", serde_json::json!({})).unwrap();
    let data: Vec<_> = DataType::ALL.map(|data_type| (data_type, format!("in_{}", data_type.name()))).into();
    let with = |replaced: DataType, bytes: &[u8]| {
        let buffers: Vec<Vec<u8>> = data
            .iter()
            .map(|(data_type, _)| if *data_type == replaced { bytes.to_vec() } else { six_elements(*data_type) })
            .collect();
        let inputs: Vec<_> = data
            .iter()
            .zip(&buffers)
            .map(|((data_type, name), bytes)| TensorView::new(name, *data_type, &[2, 3], bytes).unwrap())
            .collect();
        infer(model.as_ref(), &inputs).unwrap_err()
    };
    let mut strings = [2, 0, 0, 0, 0xff, 0xfe].to_vec();
    strings.extend_from_slice(&[0; 20]);
    assert_eq!(with(DataType::Bytes, &strings).parameter.as_deref(), Some("in_BYTES"));
    assert_eq!(with(DataType::Bool, &[0, 1, 2, 0, 0, 0]).parameter.as_deref(), Some("in_BOOL"));
}

#[test]
fn files_that_are_no_model_and_outputs_that_are_no_tensor_are_refused() {
    for (file, text) in [("make.py", "load the model"), ("none.onnx", "file"), ("sequence.onnx", "not a tensor")] {
        let error = load(file, serde_json::json!({})).map(|_| ()).unwrap_err();
        assert_eq!(error.reason, Reason::ModelNotReady);
        assert!(error.message.contains(text), "{error}");
    }
    let error = load("fixed.onnx", serde_json::json!({ "batch_size_max": 8 })).map(|_| ()).unwrap_err();
    assert!(error.message.contains("batch_size_max"), "{error}");
    load("affine.onnx", serde_json::json!({})).unwrap();
    let error = load("affine.onnx", serde_json::json!({ "library": "/nowhere.so" })).map(|_| ()).unwrap_err();
    assert!(error.message.contains("already"), "{error}");
}

#[test]
fn many_threads_get_their_own_answers() {
    let model = load("affine.onnx", serde_json::json!({ "instances": 2 })).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let model = &model;
            scope.spawn(move || {
                for call in 0..200 {
                    let number = (thread * 1000 + call) as f32;
                    let input = Tensor::from_f32("x", vec![1, 2], &[number, 0.0]);
                    let outputs = infer(model.as_ref(), &[input.view()]).unwrap();
                    let expected = [f64::from(number) + 10.0, 2.0 * f64::from(number) + 20.0];
                    assert_eq!(outputs[0].view().to_f64().unwrap(), expected);
                }
            });
        }
    });
}

/// Magika (PyPI `magika` 1.0.3) tells file types from their first and last bytes. Its model lies in the Python environment
/// of the tests, which `npm test -- --only prepare` makes.
fn magika() -> PathBuf {
    const MODEL: &str = "site-packages/magika/models/standard_v3_3/model.onnx";
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../.venv/lib");
    let versions = std::fs::read_dir(&libraries).into_iter().flatten().flatten();
    versions.map(|version| version.path().join(MODEL)).find(|path| path.exists()).unwrap_or_else(|| {
        panic!("{}/python*/{MODEL} is not there; make it by: npm test -- --only prepare", libraries.display())
    })
}

#[test]
fn a_real_model_tells_file_types() {
    let model = backend_onnx::backend().load(&source(magika(), serde_json::json!({}))).unwrap();
    let begin = include_bytes!("models.rs");
    // As its config says: 1,024 bytes from the beginning and 1,024 from the end, spaces stripped at the outer ends.
    let content = begin.trim_ascii();
    let ids: Vec<u8> = content[..1024]
        .iter()
        .chain(&content[content.len() - 1024..])
        .flat_map(|byte| i32::from(*byte).to_le_bytes())
        .collect();
    let name = model.description().inputs[0].name.clone();
    let outputs = infer(model.as_ref(), &[TensorView::new(&name, DataType::Int32, &[1, 2048], &ids).unwrap()]).unwrap();
    let scores = outputs[0].view().to_f64().unwrap();
    let best = scores.iter().enumerate().max_by(|left, right| left.1.total_cmp(right.1)).unwrap();
    // The position of "rust" in the labels of its config.
    const RUST: usize = 156;
    println!("magika: class {} of {} at {:.4}", best.0, scores.len(), best.1);
    assert_eq!((scores.len(), best.0), (214, RUST));
    assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-3 && *best.1 > 0.9, "{best:?}");
}
