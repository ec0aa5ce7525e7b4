//! New versions: trained aside, put in their place with one rename, and loaded.

use super::disk::{MODEL_FILE, VERSION_FILE};
use super::manifest::{FileReference, Manifest, VersionManifest};
use super::names::check_name;
use super::{Repository, disk};
use crate::backend::{Backend, Trained};
use crate::call::CallContext;
use crate::error::{EngineError, Reason};
use crate::guard::guarded;
use crate::tensor::TensorView;
use contract::v1::{TrainModelRequest, TrainModelResponse};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Where versions are trained; not a model's name.
const WORKSHOP: &str = ".training";
/// What a killed process left in the workshop goes after this time; no training takes so long.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Numbers that are tried for a version, while other processes take them.
const ATTEMPTS_MAX: u64 = 1000;

impl Repository {
    /// Trains a version on `tensors` (in the order of `request.tensors`), saves it whole or not at all, and loads it.
    pub fn train(
        self: &Arc<Self>,
        call: &CallContext,
        request: &TrainModelRequest,
        tensors: &[TensorView<'_>],
    ) -> Result<TrainModelResponse, EngineError> {
        check_name(&request.model)?;
        let backend = self.backend(&request.backend).ok_or_else(|| {
            EngineError::invalid("backend", format!("There is no backend \"{}\" built in.", request.backend))
        })?;
        let folder = &self.settings.folder;
        if folder.as_os_str().is_empty() {
            return Err(EngineError::new(Reason::Unsupported, "The engine has no model repository to train into."));
        }
        check_existing(folder, request)?;
        let workshop = Workshop::new(&folder.join(WORKSHOP), &request.model, SystemTime::now()).map_err(not_saved)?;
        let trained = train_aside(&**backend, call, request, tensors, &workshop)?;
        call.check(std::time::Instant::now())?;
        let version = workshop.publish(&folder.join(&request.model)).map_err(not_saved)?;
        self.scan_model(&request.model);
        let model = self.load_trained(call, &request.model, version)?;
        Ok(TrainModelResponse { model: Some(model), metrics: trained.metrics })
    }

    /// Loads by the policy where it serves the new version, and by its number where it does not.
    fn load_trained(
        self: &Arc<Self>,
        call: &CallContext,
        name: &str,
        version: u64,
    ) -> Result<contract::v1::Model, EngineError> {
        let served = crate::locks::lock(&self.shelf).entry(name)?.served().contains(&version);
        let number = version.to_string();
        if served {
            self.load(call, name, "")?;
            return crate::locks::lock(&self.shelf).describe_version(name, version);
        }
        self.load(call, name, &number)
    }
}

/// A model that exists keeps its backend.
fn check_existing(repository: &Path, request: &TrainModelRequest) -> Result<(), EngineError> {
    let Some(found) = disk::scan_model(repository, &request.model) else { return Ok(()) };
    let manifest = found.manifest.map_err(|fault| EngineError::new(Reason::ModelNotReady, fault))?;
    if manifest.backend == request.backend {
        return Ok(());
    }
    let message = format!("The model \"{}\" is one of the backend \"{}\".", request.model, manifest.backend);
    Err(EngineError::invalid("backend", message))
}

fn train_aside(
    backend: &dyn Backend,
    call: &CallContext,
    request: &TrainModelRequest,
    tensors: &[TensorView<'_>],
    workshop: &Workshop,
) -> Result<Trained, EngineError> {
    let trained = guarded(|| backend.train(call, request, tensors, &workshop.version()))?;
    let mut files = std::collections::BTreeMap::new();
    for (role, path) in &trained.files {
        let path = path.to_str().ok_or_else(|| EngineError::new(Reason::Internal, "A trained file has no name."))?;
        files.insert(role.clone(), FileReference::Path(path.to_owned()));
    }
    let version = VersionManifest { files, settings: trained.settings.clone(), metrics: trained.metrics.clone() };
    workshop.write_manifests(&Manifest::new(&request.backend), &version).map_err(not_saved)?;
    Ok(trained)
}

fn not_saved(error: io::Error) -> EngineError {
    EngineError::new(Reason::Internal, format!("The trained model could not be saved: {error}."))
}

/// A folder beside the models, on the same disk: `model.json` and `1/`, as a model's own folder. Removed when dropped.
struct Workshop(PathBuf);

impl Workshop {
    fn new(workshops: &Path, name: &str, now: SystemTime) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(workshops)?;
        remove_leftovers(workshops, now);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = workshops.join(format!("{name}-{}-{number}", std::process::id()));
        // Another process may have had this number.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("1"))?;
        Ok(Self(folder))
    }

    fn version(&self) -> PathBuf {
        self.0.join("1")
    }

    fn write_manifests(&self, model: &Manifest, version: &VersionManifest) -> io::Result<()> {
        fs::write(self.version().join(VERSION_FILE), serde_json::to_vec_pretty(version)?)?;
        fs::write(self.0.join(MODEL_FILE), serde_json::to_vec_pretty(model)?)?;
        sync_folder(&self.0)
    }

    /// Renames the version, and the model where it is new, into place; the version's number.
    fn publish(&self, model: &Path) -> io::Result<u64> {
        let versions = model.parent().unwrap_or(model);
        if !model.join(MODEL_FILE).exists() {
            match fs::rename(&self.0, model) {
                Ok(()) => return sync_one(versions).map(|()| 1),
                // Somebody was faster; this becomes the next version.
                Err(error) if is_taken(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let newest = numbered_versions(model)?.max().unwrap_or(0);
        for version in (newest + 1..).take(ATTEMPTS_MAX as usize) {
            match fs::rename(self.version(), model.join(version.to_string())) {
                Ok(()) => return sync_one(model).map(|()| version),
                Err(error) if is_taken(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "all numbers for a new version were taken"))
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}

fn numbered_versions(model: &Path) -> io::Result<impl Iterator<Item = u64>> {
    let entries = fs::read_dir(model)?.take(disk::ENTRIES_MAX);
    Ok(entries.filter_map(|entry| super::names::version_number(entry.ok()?.file_name().to_str()?)))
}

fn remove_leftovers(workshops: &Path, now: SystemTime) {
    for entry in fs::read_dir(workshops).into_iter().flatten().take(disk::ENTRIES_MAX).flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| now.duration_since(modified).ok());
        if age.is_some_and(|age| age > LEFTOVER_AGE) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Makes a folder's files last through a power cut, before their folder is renamed into place.
fn sync_folder(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { sync_folder(&path)? } else { sync_one(&path)? }
    }
    sync_one(folder)
}

fn sync_one(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}
