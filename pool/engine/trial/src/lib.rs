//! What the tests of all table backends share: real tables, a training that goes through files as the engine's does, and the
//! suite that each backend must pass.

use contract::v1::{Parameter, TrainModelRequest, parameter::Value};
use engine_core::{Backend, CallContext, EngineError, Model, ModelSource, Reason, Tensor, Trained};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use training::backend::TableBackend;
use training::file::Header;
use training::fits::FITS_MAX;
use training::{Algorithm, Matrix, Task};

/// A folder that goes when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// An empty folder that nobody else has.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("treeline-trial-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's folder for such files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A table of `testdata/tables`.
#[derive(Debug, Clone)]
pub struct Table {
    /// One row an example.
    pub features: Matrix,
    /// One a row.
    pub targets: Vec<f64>,
}

impl Table {
    /// The table of that name.
    pub fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(data(&format!("{name}.csv"))).expect("the table is there");
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(1)
            .map(|line| line.split(',').map(|number| number.parse().expect("a number")).collect())
            .collect();
        let columns = rows[0].len() - 1;
        let targets = rows.iter().map(|row| row[columns]).collect();
        let values = rows.iter().flat_map(|row| row[..columns].iter().copied()).collect();
        Self { features: Matrix { columns, values }, targets }
    }

    /// Rows to learn from, and each fourth to be measured by: the same split as `export.py` makes.
    pub fn split(&self) -> (Self, Self) {
        let rows = || 0..self.targets.len();
        let select = |indices: Vec<usize>| Self {
            features: self.features.select(&indices),
            targets: indices.iter().map(|&index| self.targets[index]).collect(),
        };
        (select(rows().filter(|row| row % 4 != 3).collect()), select(rows().filter(|row| row % 4 == 3).collect()))
    }

    fn tensors(&self, supervised: bool) -> Vec<Tensor> {
        let mut tensors = vec![features(&self.features)];
        if supervised {
            tensors.push(Tensor::from_f64("targets", vec![self.targets.len() as i64], &self.targets));
        }
        tensors
    }
}

/// What scikit-learn reaches.
pub fn expected(table: &str, figure: &str) -> f64 {
    let text = std::fs::read_to_string(data("expected.json")).expect("the figures are there");
    let figures: serde_json::Value = serde_json::from_str(&text).expect("the figures are JSON");
    figures[table][figure].as_f64().unwrap_or_else(|| panic!("there is no figure {figure} of {table}"))
}

/// Parameters of a request.
pub fn parameters<const COUNT: usize>(values: [(&str, Value); COUNT]) -> BTreeMap<String, Parameter> {
    values.into_iter().map(|(name, value)| (name.to_owned(), Parameter { value: Some(value) })).collect()
}

/// Trains into `folder`.
pub fn train(
    backend: &TableBackend,
    algorithm: &str,
    table: &Table,
    parameters: BTreeMap<String, Parameter>,
    folder: &Path,
) -> Result<Trained, EngineError> {
    train_for(&CallContext::default(), backend, algorithm, table, parameters, folder)
}

/// The same on behalf of `call`.
pub fn train_for(
    call: &CallContext,
    backend: &TableBackend,
    algorithm: &str,
    table: &Table,
    parameters: BTreeMap<String, Parameter>,
    folder: &Path,
) -> Result<Trained, EngineError> {
    let supervised = backend.algorithms().iter().any(|entry| entry.name == algorithm && entry.task.is_supervised());
    let tensors = table.tensors(supervised);
    let views: Vec<_> = tensors.iter().map(Tensor::view).collect();
    let request = TrainModelRequest { algorithm: algorithm.to_owned(), parameters, ..TrainModelRequest::default() };
    backend.train(call, &request, &views, folder)
}

/// A training whose call is cancelled while it computes gives up, and makes room for the next: more of them are begun one
/// after the other than may compute at once. `parameters` must make it last for longer than it takes to cancel it.
pub fn a_cancelled_training_ends(
    backend: &TableBackend,
    algorithm: &str,
    table: &Table,
    parameters: &BTreeMap<String, Parameter>,
) {
    for _ in 0..=FITS_MAX {
        eventually_cancelled(backend, algorithm, table, parameters);
    }
}

fn eventually_cancelled(
    backend: &TableBackend,
    algorithm: &str,
    table: &Table,
    parameters: &BTreeMap<String, Parameter>,
) {
    const ATTEMPTS_MAX: usize = 3_000;
    const BEGINS: Duration = Duration::from_millis(20);
    for _ in 0..ATTEMPTS_MAX {
        let (call, folder) = (CallContext::default(), Folder::new());
        let cancelled = call.clone();
        let canceller = std::thread::spawn(move || {
            std::thread::sleep(BEGINS);
            cancelled.cancel();
        });
        let result = train_for(&call, backend, algorithm, table, parameters.clone(), folder.path());
        canceller.join().expect("it cancels");
        match result.map(|_| ()).expect_err("it was cancelled").reason {
            Reason::Cancelled => return,
            // Those before still end their last step.
            Reason::Overloaded => {}
            reason => panic!("{algorithm}: {reason:?}"),
        }
    }
    panic!("{algorithm}: cancelled trainings do not end");
}

/// Loads what was trained into `folder`.
pub fn load(backend: &TableBackend, trained: &Trained, folder: &Path) -> Result<Arc<dyn Model>, EngineError> {
    backend.load(&ModelSource {
        name: "trial".into(),
        version: 1,
        folder: folder.to_owned(),
        files: trained.files.clone(),
        settings: trained.settings.clone(),
        threads: 1,
    })
}

/// Answers for `rows`.
pub fn infer(model: &dyn Model, rows: &Matrix) -> Result<Vec<Tensor>, EngineError> {
    let tensor = features(rows);
    model.infer(&CallContext::default(), &[tensor.view()], &BTreeMap::new())
}

/// Accuracy, or r², on each fourth row, of a model that was trained on the others, saved and loaded. Metrics of the training
/// come with it.
pub fn score(
    backend: &TableBackend,
    algorithm: &str,
    table: &Table,
    parameters: BTreeMap<String, Parameter>,
) -> (f64, BTreeMap<String, f64>) {
    let (learned, held) = table.split();
    let folder = Folder::new();
    let trained = train(backend, algorithm, &learned, parameters, folder.path()).expect("the training works");
    let model = load(backend, &trained, folder.path()).expect("the model loads");
    let outputs = infer(model.as_ref(), &held.features).expect("the model predicts");
    let predictions = outputs[0].view().to_f64().expect("predictions are numbers");
    assert_eq!(outputs[0].name, "predictions");
    let score = if outputs[0].data_type == engine_core::DataType::Int64 {
        let right = predictions.iter().zip(&held.targets).filter(|(left, right)| left == right).count();
        right as f64 / held.targets.len() as f64
    } else {
        training::metrics::regression(&held.targets, &predictions)["r2"]
    };
    (score, trained.metrics)
}

/// The suite: every algorithm of the table learns with default parameters, gives the same answers after saving and loading,
/// gives the same model for the same seed unless its name is among `of_chance`, and answers a damaged file with an error.
pub fn every_algorithm_keeps_its_promises(backend: &TableBackend, of_chance: &[&str]) {
    for algorithm in backend.algorithms() {
        keeps_its_promises(backend, algorithm, of_chance.contains(&algorithm.name));
    }
}

fn keeps_its_promises(backend: &TableBackend, algorithm: &Algorithm, of_chance: bool) {
    let name = algorithm.name;
    let table = if algorithm.task == Task::Regression { Table::read("diabetes") } else { Table::read("iris") };
    let folders = [Folder::new(), Folder::new()];
    let trained = folders.each_ref().map(|folder| {
        train(backend, name, &table, BTreeMap::new(), folder.path()).unwrap_or_else(|error| panic!("{name}: {error}"))
    });
    if !of_chance {
        assert_eq!(trained[0].metrics, trained[1].metrics, "{name} gives the same for the same seed");
    }
    assert!(trained[0].metrics.values().all(|value| value.is_finite()), "{name}: {:?}", trained[0].metrics);
    // Loaded twice from the same file, and once from that of the other training.
    let models = [0, 0, 1].map(|index| {
        load(backend, &trained[index], folders[index].path()).unwrap_or_else(|error| panic!("{name}: {error}"))
    });
    let answers = models.each_ref().map(|model| infer(model.as_ref(), &table.features).expect("it predicts"));
    assert_eq!(answers[0], answers[1], "{name} answers the same");
    assert!(of_chance || answers[0] == answers[2], "{name} answers the same for the same seed");
    let names: Vec<_> = answers[0].iter().map(|tensor| &tensor.name).collect();
    let declared: Vec<_> = models[0].description().outputs.iter().map(|output| &output.name).collect();
    assert_eq!(names, declared, "{name} gives what it declares");
    refuses_wrong_tables(models[0].as_ref(), name);
    a_damaged_file_is_refused(backend, &trained[0], folders[0].path(), name);
    a_forged_file_is_survived(backend, &trained[0], folders[0].path(), &table, name);
}

fn refuses_wrong_tables(model: &dyn Model, name: &str) {
    for columns in [1, 3, 100] {
        let rows = Matrix { columns, values: vec![0.0; columns * 2] };
        let error = infer(model, &rows).expect_err("the columns are wrong");
        assert_eq!(error.parameter.as_deref(), Some("features"), "{name}");
    }
}

/// A file that is not what a training wrote says what is wrong with it when it is loaded. Leaves the file as it was.
pub fn a_damaged_file_is_refused(backend: &TableBackend, trained: &Trained, folder: &Path, name: &str) {
    let path = folder.join(&trained.files["weights"]);
    let whole = std::fs::read(&path).expect("the file is there");
    let (header, body) = training::file::decode(&whole).expect("the file is whole");
    let changed_at = |index: usize| {
        let mut changed = whole.clone();
        changed[index] ^= 0x10;
        changed
    };
    let encode = |header: &Header, body: &[u8]| training::file::encode(header, body).expect("a header can be written");
    let cases = [
        (Vec::new(), "is too short"),
        (whole[..whole.len() / 2].to_vec(), "has another length than it says"),
        (whole[..whole.len() - 1].to_vec(), "has another length than it says"),
        ([whole.as_slice(), b"more"].concat(), "has another length than it says"),
        (changed_at(0), "is not one: its first bytes differ"),
        (changed_at(8), "has the format 17; this engine reads 1"),
        (changed_at(whole.len() - 1), "has a wrong checksum"),
        (encode(&Header { algorithm: "unheard-of".into(), ..header.clone() }, body), "which is not here"),
        (encode(&Header { backend: "unheard-of".into(), ..header.clone() }, body), "which is not here"),
        (encode(&header, &body[..body.len() / 2]), "cannot be read"),
        (encode(&header, &[]), "cannot be read"),
    ];
    for (bytes, sentence) in cases {
        std::fs::write(&path, bytes).expect("the file can be written");
        let error = load(backend, trained, folder).map(|_| ()).expect_err(sentence);
        assert_eq!(error.reason, Reason::ModelNotReady, "{name}: {error}");
        assert!(error.message.contains(sentence), "{name}: {error} instead of: {sentence}");
    }
    std::fs::remove_file(&path).expect("the file can be removed");
    let error = load(backend, trained, folder).map(|_| ()).expect_err("there is no file");
    assert!(error.message.contains("cannot be read"), "{name}: {error}");
    std::fs::write(&path, whole).expect("the file can be written");
}

/// Damages the body and makes the checksum right again, as somebody might who means harm: the answer is an error or a
/// prediction, but neither a panic nor a hang.
pub fn a_forged_file_is_survived(backend: &TableBackend, trained: &Trained, folder: &Path, table: &Table, name: &str) {
    const TRIES: usize = 60;
    let path = folder.join(&trained.files["weights"]);
    let whole = std::fs::read(&path).expect("the file is there");
    let (header, body) = training::file::decode(&whole).expect("the file is whole");
    let seed = 11;
    println!("{name}: damage by the seed {seed}");
    let mut random = training::random::Random::new(seed);
    for _ in 0..TRIES {
        let mut damaged = body.to_vec();
        let at = random.below(damaged.len());
        damaged[at] = random.bits() as u8;
        if random.below(4) == 0 {
            damaged.truncate(at);
        }
        training::file::write(&path, &header, &damaged).expect("the file can be written");
        if let Ok(model) = load(backend, trained, folder) {
            let _answer_or_error = infer(model.as_ref(), &table.features);
        }
    }
}

fn features(rows: &Matrix) -> Tensor {
    Tensor::from_f64("features", vec![rows.rows() as i64, rows.columns as i64], &rows.values)
}

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/tables").join(file)
}
