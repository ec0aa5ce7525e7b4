//! The model repository: a folder of versioned models, loaded and unloaded while calls run. `docs/POOL-MODELS.md`
//! describes the folder.
//!
//! | module | holds |
//! |---|---|
//! | [`manifest`] | `model.json` and `version.json` |
//! | [`names`] | names of models and numbers of versions |
//! | `files` | from a manifest's file names to checked paths |
//! | `disk` | what lies in the folder |
//! | `shelf` | the state of each version, and what it means for a call |
//! | `loading` | the ways into and out of memory |
//! | [`loaded`] | a loaded version and its leases |
//! | [`memory`] | the limit on what all hold together |
//! | `warm_up` | a version's first calls |
//! | `training` | new versions |
//! | [`sink`] | generations, which hold a lease until they end |

mod disk;
mod files;
pub mod loaded;
mod loading;
pub mod manifest;
pub mod memory;
pub mod names;
mod shelf;
pub mod sink;
mod training;
mod warm_up;

pub use loaded::Lease;

use crate::backend::Backend;
use crate::call::CallContext;
use crate::error::{EngineError, Reason};
use crate::locks::lock;
use contract::engine::EngineStats;
use contract::v1;
use memory::Ledger;
use names::{check_name, parse_version};
use shelf::{Choice, Shelf, State};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the calls of a version that is unloaded may go on before they are ended.
pub const UNLOAD_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a call waits for a version to load, if its own deadline is not earlier.
pub const LOAD_WAIT_MAX: Duration = Duration::from_secs(600);
/// How often a waiting call looks whether it was cancelled.
const CANCELLATION_INTERVAL: Duration = Duration::from_millis(20);
/// The disk is looked at no more often than this for calls that only hope for something new.
const RESCAN_INTERVAL: Duration = Duration::from_secs(1);

/// How a repository is opened.
#[derive(Debug, Clone)]
pub struct RepositorySettings {
    /// The folder; empty: there is none, and so no model.
    pub folder: PathBuf,
    /// The model cache, for files named `cache:…`.
    pub cache: PathBuf,
    /// Bytes that loaded models may hold together.
    pub memory_bytes_max: u64,
    /// Threads for computing, 1 or more.
    pub threads: usize,
    /// [`UNLOAD_WAIT_MAX`], unless a test is in a hurry.
    pub unload_wait_max: Duration,
    /// Models to load at the start besides those whose manifest says so, `name` or `name:version`.
    pub load: Vec<String>,
}

/// The models of one process.
pub struct Repository {
    settings: RepositorySettings,
    backends: Vec<Arc<dyn Backend>>,
    ledger: Arc<Ledger>,
    shelf: Mutex<Shelf>,
    changed: Condvar,
    scanned: Mutex<Option<Instant>>,
    stopping: AtomicBool,
}

impl Repository {
    /// Reads the folder, begins to load what shall be loaded, and returns at once.
    pub fn open(settings: RepositorySettings, backends: Vec<Arc<dyn Backend>>) -> Result<Arc<Self>, EngineError> {
        memory::keep_little_freed_memory();
        let repository = Arc::new(Self {
            ledger: Ledger::new(settings.memory_bytes_max),
            settings,
            backends,
            shelf: Mutex::default(),
            changed: Condvar::new(),
            scanned: Mutex::new(None),
            stopping: AtomicBool::new(false),
        });
        repository.scan().map_err(|error| {
            let folder = repository.settings.folder.display();
            EngineError::new(Reason::InvalidArgument, format!("The model repository {folder} cannot be read: {error}."))
        })?;
        repository.load_at_start()?;
        Ok(repository)
    }

    /// The backends, in the order that they were given.
    pub fn backends(&self) -> &[Arc<dyn Backend>] {
        &self.backends
    }

    /// The version that answers a call, kept loaded while the lease is held. Loads it where the manifest says `demand`,
    /// which may wait until the call's deadline.
    pub fn find(self: &Arc<Self>, call: &CallContext, name: &str, version: &str) -> Result<Lease, EngineError> {
        check_name(name)?;
        let version = parse_version(version)?;
        let mut shelf = lock(&self.shelf);
        let (mut looked, mut loaded) = (false, false);
        let since = Instant::now();
        loop {
            match shelf.choose(name, version) {
                Ok(Choice::Answer(lease)) => return Ok(lease),
                Ok(Choice::Load(number)) if loaded => return Err(failure(&mut shelf, name, number)),
                Ok(Choice::Load(number)) => {
                    loaded = true;
                    self.begin_load(&mut shelf, name, number)?;
                }
                Ok(Choice::Wait) => {}
                Err(error) if error.reason == Reason::ModelNotFound && !looked => {
                    looked = true;
                    drop(shelf);
                    self.scan_if_due(Instant::now());
                    shelf = lock(&self.shelf);
                    continue;
                }
                Err(error) => return Err(error),
            }
            shelf = self.wait(shelf, call, since)?;
        }
    }

    /// All models, loaded or not, newest version first.
    pub fn list(&self) -> Vec<v1::Model> {
        self.scan_if_due(Instant::now());
        let shelf = lock(&self.shelf);
        shelf.entries().flat_map(|(name, _)| shelf.describe(name)).collect()
    }

    /// Adds memory, and what the loaded models tell of themselves.
    pub fn add_stats(&self, stats: &mut EngineStats) {
        stats.memory_bytes += self.ledger.bytes();
        stats.memory_bytes_max += self.ledger.bytes_max();
        for lease in self.leases() {
            lease.loaded().add_stats(stats);
        }
    }

    /// A lease of each version that is ready.
    fn leases(&self) -> Vec<Lease> {
        let shelf = lock(&self.shelf);
        let versions = shelf.entries().flat_map(|(_, entry)| entry.versions.values());
        versions
            .filter_map(|version| match &version.state {
                State::Ready(loaded) => Some(loaded.lease()),
                _ => None,
            })
            .collect()
    }

    /// Looks at the disk, unless that was done a moment ago. What cannot be read leaves everything as it is.
    fn scan_if_due(&self, now: Instant) {
        let due = lock(&self.scanned).is_none_or(|last| now.saturating_duration_since(last) >= RESCAN_INTERVAL);
        if due {
            let _ = self.scan();
        }
    }

    fn scan(&self) -> std::io::Result<()> {
        *lock(&self.scanned) = Some(Instant::now());
        if !self.settings.folder.as_os_str().is_empty() {
            let found = disk::scan(&self.settings.folder)?;
            lock(&self.shelf).merge(found);
        }
        Ok(())
    }

    /// Looks at one model's folder.
    fn scan_model(&self, name: &str) {
        if !self.settings.folder.as_os_str().is_empty()
            && let Some(found) = disk::scan_model(&self.settings.folder, name)
        {
            lock(&self.shelf).merge_model(found);
        }
    }

    /// Waits for a change, a moment at most; fails where the call is of no use any more.
    fn wait<'shelf>(
        &self,
        shelf: MutexGuard<'shelf, Shelf>,
        call: &CallContext,
        since: Instant,
    ) -> Result<MutexGuard<'shelf, Shelf>, EngineError> {
        let now = Instant::now();
        call.check(now)?;
        if now.saturating_duration_since(since) >= LOAD_WAIT_MAX {
            let message = format!("The model was not ready within {} seconds.", LOAD_WAIT_MAX.as_secs());
            return Err(EngineError::new(Reason::ModelNotReady, message));
        }
        let (shelf, _) =
            self.changed.wait_timeout(shelf, CANCELLATION_INTERVAL).unwrap_or_else(PoisonError::into_inner);
        Ok(shelf)
    }
}

/// Why a version is not loaded, for the call that tried to load it.
fn failure(shelf: &mut Shelf, name: &str, version: u64) -> EngineError {
    match shelf.version_mut(name, version).map(|version| &version.state) {
        Ok(State::Failed(error)) => error.clone(),
        Ok(_) => EngineError::new(Reason::ModelNotReady, format!("The model \"{name}\" is not loaded any more.")),
        Err(error) => error,
    }
}
