//! A table of algorithms as a `Backend`.

use crate::algorithm::{Algorithm, Fit, Fitted, Prediction, Task};
use crate::data::{self, DataSet, Targets};
use crate::file::{self, Header};
use crate::fits::Fits;
use crate::guard::guarded;
use crate::metrics::{self, Metrics};
use crate::model::TableModel;
use crate::random::Random;
use crate::scaling::Scaling;
use crate::settings::{Rule, Settings};
use contract::v1::TrainModelRequest;
use engine_core::{Backend, CallContext, EngineError, Model, ModelSource, Reason, TensorView, Trained};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Role and name of the file that a training writes.
const FILE_ROLE: &str = "weights";
const FILE_NAME: &str = "model.table";

/// Rows that may be kept back for testing, at most, as a share of all.
const TEST_FRACTION_MAX: f64 = 0.5;

/// A backend that is a table of algorithms.
pub struct TableBackend {
    name: &'static str,
    algorithms: Vec<Algorithm>,
    fits: Fits,
}

impl TableBackend {
    /// The backend `name` with these algorithms.
    pub fn new(name: &'static str, algorithms: Vec<Algorithm>) -> Self {
        Self { name, algorithms, fits: Fits::default() }
    }

    /// What it trains.
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    fn find(&self, name: &str) -> Option<&Algorithm> {
        self.algorithms.iter().find(|algorithm| algorithm.name == name)
    }

    fn requested(&self, name: &str) -> Result<&Algorithm, EngineError> {
        self.find(name).ok_or_else(|| {
            let known: Vec<_> = self.algorithms.iter().map(|algorithm| algorithm.name).collect();
            let message = format!("{} has no algorithm \"{name}\"; it has {}.", self.name, known.join(", "));
            EngineError::invalid("algorithm", message)
        })
    }
}

impl Backend for TableBackend {
    fn name(&self) -> &'static str {
        self.name
    }

    fn load(&self, source: &ModelSource) -> Result<Arc<dyn Model>, EngineError> {
        let bytes = file::read(&source.file(FILE_ROLE)?)?;
        let (header, body) = file::decode(&bytes)?;
        let algorithm = self.find(&header.algorithm).filter(|_| header.backend == self.name).ok_or_else(|| {
            let message =
                format!("The model was trained by {}'s {}, which is not here.", header.backend, header.algorithm);
            EngineError::new(Reason::ModelNotReady, message)
        })?;
        let fitted = guarded(self.name, || (algorithm.decode)(body))?;
        let model = TableModel::new(self.name, algorithm.task, header, fitted, bytes.len() as u64)?;
        Ok(Arc::new(model))
    }

    fn train(
        &self,
        call: &CallContext,
        request: &TrainModelRequest,
        tensors: &[TensorView<'_>],
        folder: &Path,
    ) -> Result<Trained, EngineError> {
        let algorithm = self.requested(&request.algorithm)?;
        let common = common_rules(algorithm);
        let settings = Settings::read(algorithm.rules.iter().chain(&common), &request.parameters)?;
        let data = read_data(algorithm, tensors)?;
        let training = Training { task: algorithm.task, fit: algorithm.fit, data, settings, call: detached(call) };
        let learned = self.fits.run(self.name, call, || training.run())?;
        let header = Header {
            backend: self.name.to_owned(),
            algorithm: algorithm.name.to_owned(),
            columns: learned.columns,
            classes: learned.classes,
            scaling: learned.scaling,
        };
        file::write(&folder.join(FILE_NAME), &header, &learned.body)?;
        Ok(Trained {
            files: [(FILE_ROLE.to_owned(), PathBuf::from(FILE_NAME))].into(),
            settings: serde_json::Map::from_iter([("algorithm".to_owned(), algorithm.name.into())]),
            metrics: learned.metrics,
        })
    }
}

/// The call without what belongs to its transport, which a fit that nobody waits for must not hold.
fn detached(call: &CallContext) -> CallContext {
    let mut call = call.clone();
    call.output = None;
    call.spans = None;
    call
}

/// All that a fit needs, so that it can be taken to another thread.
struct Training {
    task: Task,
    fit: Fit,
    data: DataSet,
    settings: Settings,
    call: CallContext,
}

/// What a fit gave.
struct Learned {
    columns: usize,
    classes: Vec<i64>,
    scaling: Option<Scaling>,
    body: Vec<u8>,
    metrics: Metrics,
}

impl Training {
    fn run(self) -> Result<Learned, EngineError> {
        let parts = Parts::of(self.data, self.task, &self.settings);
        let fitted = self.fit.run(&parts.training, &self.settings, &self.call)?;
        self.call.check(Instant::now())?;
        Ok(Learned {
            columns: parts.training.features.columns,
            classes: parts.training.labels().to_vec(),
            body: fitted.encode()?,
            metrics: parts.measure(fitted.as_ref())?,
            scaling: parts.scaling,
        })
    }
}

/// Parameters that all algorithms take.
pub fn common_rules(algorithm: &Algorithm) -> Vec<Rule> {
    let mut rules = vec![Rule::flag("standardize", algorithm.standardize), Rule::whole("seed", 0, 0, i64::MAX as u64)];
    if algorithm.task.is_supervised() {
        rules.push(Rule::number("test_fraction", 0.0, 0.0, TEST_FRACTION_MAX));
    }
    rules
}

fn read_data(algorithm: &Algorithm, tensors: &[TensorView<'_>]) -> Result<DataSet, EngineError> {
    let names: &[&str] = if algorithm.task.is_supervised() { &["features", "targets"] } else { &["features"] };
    if let Some(unknown) = tensors.iter().find(|tensor| !names.contains(&tensor.name)) {
        let message = format!("{} takes the tensors {}.", algorithm.name, names.join(" and "));
        return Err(EngineError::invalid(unknown.name, message));
    }
    let features = data::read_features(data::find(tensors, "features")?)?;
    let rows = features.rows();
    if rows == 0 || rows > algorithm.rows_max {
        let message = format!("{} takes 1 to {} rows; these are {rows}.", algorithm.name, algorithm.rows_max);
        return Err(EngineError::invalid("features", message));
    }
    let targets = || data::read_targets(data::find(tensors, "targets")?, rows);
    let targets = match algorithm.task {
        Task::Regression => Targets::Numbers(targets()?),
        Task::Classification => data::read_classes("targets", &targets()?)?,
        Task::Clustering | Task::Transformation => Targets::None,
    };
    Ok(DataSet { features, targets })
}

/// Rows to learn from and rows to test by, both scaled as the former need it.
struct Parts {
    training: DataSet,
    test: Option<DataSet>,
    scaling: Option<Scaling>,
}

impl Parts {
    fn of(data: DataSet, task: Task, settings: &Settings) -> Self {
        let fraction = if task.is_supervised() { settings.number("test_fraction") } else { 0.0 };
        let rows = data.features.rows();
        let test_rows = (rows as f64 * fraction) as usize;
        let (mut training, mut test) = (data, None);
        if test_rows > 0 {
            let order = Random::new(settings.whole("seed")).permutation(rows);
            test = Some(training.select(&order[..test_rows]));
            training = training.select(&order[test_rows..]);
        }
        let scaling = settings.flag("standardize").then(|| Scaling::of(&training.features));
        if let Some(scaling) = &scaling {
            for part in [Some(&mut training), test.as_mut()].into_iter().flatten() {
                part.features = scaling.apply(&part.features);
            }
        }
        Self { training, test, scaling }
    }

    fn measure(&self, fitted: &dyn Fitted) -> Result<Metrics, EngineError> {
        let mut metrics = measure(fitted, &self.training)?;
        metrics.insert("rows".into(), self.training.features.rows() as f64);
        if let Some(test) = &self.test {
            metrics.extend(measure(fitted, test)?.into_iter().map(|(name, value)| (format!("test_{name}"), value)));
            metrics.insert("test_rows".into(), test.features.rows() as f64);
        }
        Ok(metrics)
    }
}

fn measure(fitted: &dyn Fitted, data: &DataSet) -> Result<Metrics, EngineError> {
    Ok(match fitted.predict(&data.features)? {
        Prediction::Numbers(numbers) => metrics::regression(data.numbers(), &numbers),
        Prediction::Classes { indices, probabilities } => {
            metrics::classification(data.classes(), &indices, probabilities.as_ref())
        }
        Prediction::Clusters(clusters) => metrics::clustering(&data.features, &clusters),
        Prediction::Transformed(transformed) => metrics::transformation(&data.features, &transformed),
    })
}
