//! The ways into memory and out of it. A version is loaded by one thread, whoever asks for it; those who wait for it may go
//! away without disturbing it.

use super::loaded::Loaded;
use super::manifest::{LoadTime, Manifest};
use super::names::{check_name, parse_version, version_not_found};
use super::shelf::{Shelf, State};
use super::{Repository, disk, failure, files, memory, warm_up};
use crate::backend::{Backend, ModelSource};
use crate::call::CallContext;
use crate::error::{EngineError, Reason};
use crate::guard::guarded;
use crate::locks::lock;
use contract::v1;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// A version to load: all that its thread needs.
struct Order {
    name: String,
    version: u64,
    folder: PathBuf,
    manifest: Arc<Manifest>,
}

impl Repository {
    /// Loads a version, or those that the policy serves, and waits until they answer. Without a version, versions that the
    /// policy no longer serves are unloaded afterwards. Returns the newest.
    pub fn load(self: &Arc<Self>, call: &CallContext, name: &str, version: &str) -> Result<v1::Model, EngineError> {
        check_name(name)?;
        let version = parse_version(version)?;
        self.scan_model(name);
        let mut shelf = lock(&self.shelf);
        let wanted = wanted_versions(&shelf, name, version)?;
        for &number in &wanted {
            let entry = shelf.version_mut(name, number)?;
            entry.pinned |= version.is_some();
            entry.held_back = false;
        }
        let mut begun = BTreeSet::new();
        let since = Instant::now();
        loop {
            let mut all_ready = true;
            for &number in &wanted {
                match &shelf.version_mut(name, number)?.state {
                    State::Ready(_) => continue,
                    State::Loading | State::Unloading => {}
                    State::Unloaded | State::Failed(_) if begun.insert(number) => {
                        self.begin_load(&mut shelf, name, number)?;
                    }
                    State::Unloaded | State::Failed(_) => return Err(failure(&mut shelf, name, number)),
                }
                all_ready = false;
            }
            if all_ready {
                break;
            }
            shelf = self.wait(shelf, call, since)?;
        }
        let model = shelf.describe_version(name, wanted[0]);
        drop(shelf);
        if version.is_none() {
            self.retire(name, &wanted);
        }
        model
    }

    /// Takes a version, or all of the model's, out of service: no new calls, running ones finish within the limit, the rest
    /// is ended, the memory is given back.
    pub fn unload(self: &Arc<Self>, call: &CallContext, name: &str, version: &str) -> Result<(), EngineError> {
        check_name(name)?;
        let version = parse_version(version)?;
        let mut shelf = lock(&self.shelf);
        let numbers: Vec<u64> = match version {
            Some(number) => vec![number],
            None => shelf.entry(name)?.versions.keys().copied().collect(),
        };
        for &number in &numbers {
            if matches!(shelf.version_mut(name, number)?.state, State::Loading) {
                let message = format!("The model \"{name}\" is still loading; unload it when it is ready.");
                return Err(EngineError::new(Reason::ModelNotReady, message));
            }
        }
        let mut leaving = Vec::new();
        for &number in &numbers {
            let version = shelf.version_mut(name, number)?;
            version.held_back = true;
            version.pinned = false;
            leaving.extend(take_ready(&mut version.state));
        }
        drop(shelf);
        leaving.into_iter().for_each(|loaded| self.finish_unload(loaded));
        // Somebody else may be unloading one of them.
        let since = Instant::now();
        let mut shelf = lock(&self.shelf);
        while shelf.entry(name).is_ok_and(|entry| {
            numbers.iter().filter_map(|number| entry.versions.get(number)).any(|v| matches!(v.state, State::Unloading))
        }) {
            shelf = self.wait(shelf, call, since)?;
        }
        Ok(())
    }

    /// Unloads everything, and lets nothing be loaded any more.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let mut shelf = lock(&self.shelf);
        let names: Vec<(String, u64)> = shelf
            .entries()
            .flat_map(|(name, entry)| entry.versions.keys().map(|version| (name.clone(), *version)))
            .collect();
        let mut leaving = Vec::new();
        for (name, number) in names {
            if let Ok(version) = shelf.version_mut(&name, number) {
                leaving.extend(take_ready(&mut version.state));
            }
        }
        drop(shelf);
        leaving.into_iter().for_each(|loaded| self.finish_unload(loaded));
    }

    /// Begins to load what the manifests and the settings want at the start: one after the other, on one thread.
    pub(super) fn load_at_start(self: &Arc<Self>) -> Result<(), EngineError> {
        let mut shelf = lock(&self.shelf);
        let mut orders = Vec::new();
        let at_start: Vec<(String, u64)> = shelf
            .entries()
            .filter(|(_, entry)| entry.manifest.as_ref().is_ok_and(|manifest| manifest.load == LoadTime::Startup))
            .flat_map(|(name, entry)| entry.served().into_iter().map(|version| (name.clone(), version)))
            .collect();
        for (name, version) in at_start {
            orders.push(order(&mut shelf, &name, version)?);
        }
        for wanted in &self.settings.load {
            let (name, version) = wanted.split_once(':').unwrap_or((wanted, ""));
            check_name(name)?;
            let version = parse_version(version)?;
            for number in wanted_versions(&shelf, name, version)? {
                shelf.version_mut(name, number)?.pinned |= version.is_some();
                if matches!(shelf.version_mut(name, number)?.state, State::Unloaded) {
                    orders.push(order(&mut shelf, name, number)?);
                }
            }
        }
        drop(shelf);
        if orders.is_empty() {
            return Ok(());
        }
        let repository = Arc::clone(self);
        spawn("load", move || orders.into_iter().for_each(|order| repository.carry_out(order)))
    }

    /// Marks the version as loading, and loads it on a thread of its own.
    pub(super) fn begin_load(self: &Arc<Self>, shelf: &mut Shelf, name: &str, version: u64) -> Result<(), EngineError> {
        let order = order(shelf, name, version)?;
        let repository = Arc::clone(self);
        let begun = spawn("load", move || repository.carry_out(order));
        if let Err(error) = &begun {
            shelf.version_mut(name, version)?.state = State::Failed(error.clone());
        }
        begun
    }

    fn carry_out(&self, order: Order) {
        let result = self.load_version(&order);
        if result.is_err() {
            memory::give_freed_memory_back();
        }
        let mut shelf = lock(&self.shelf);
        let stopped = self.stopping.load(Ordering::Acquire);
        let mut late = None;
        // A version that is loading stays on the shelf, so that it is still there.
        if let Ok(version) = shelf.version_mut(&order.name, order.version) {
            version.state = match result {
                Ok(loaded) if stopped => {
                    late = Some(loaded);
                    State::Unloading
                }
                Ok(loaded) => State::Ready(loaded),
                Err(error) => State::Failed(error),
            };
        }
        drop(shelf);
        self.changed.notify_all();
        late.into_iter().for_each(|loaded| self.finish_unload(loaded));
    }

    fn load_version(&self, order: &Order) -> Result<Arc<Loaded>, EngineError> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(EngineError::new(Reason::Unavailable, "The engine is stopping."));
        }
        let name = &order.name;
        let manifest = disk::version_manifest(name, &order.manifest, &order.folder)
            .map_err(|fault| EngineError::new(Reason::ModelNotReady, fault))?;
        let backend = self.backend(&manifest.backend).ok_or_else(|| {
            let message =
                format!("The model \"{name}\" needs the backend \"{}\", which is not built in.", manifest.backend);
            EngineError::new(Reason::ModelNotReady, message)
        })?;
        let places = files::Places { version: &order.folder, cache: &self.settings.cache };
        let (files, file_bytes) = files::resolve(name, &manifest.files, places)?;
        let estimate = manifest.memory_bytes.unwrap_or(file_bytes);
        let mut reservation = self.ledger.reserve(name, estimate)?;
        let source = ModelSource {
            name: name.clone(),
            version: order.version,
            folder: order.folder.clone(),
            files,
            settings: manifest.settings,
            threads: self.settings.threads,
        };
        let model = guarded(|| backend.load(&source))?;
        let ready = match model.description().memory_bytes {
            0 => Ok(()),
            bytes => reservation.resize(name, bytes),
        }
        .and_then(|()| warm_up::warm_up(&*model, name, &manifest.warm_up, Instant::now()));
        if let Err(error) = ready {
            // Its threads, if it has any, must not outlive it.
            let _ = guarded(|| {
                model.stop();
                Ok(())
            });
            return Err(error);
        }
        Ok(Arc::new(Loaded::new(name.clone(), order.version, model, manifest.batching, reservation)))
    }

    /// The backend of that name.
    pub(super) fn backend(&self, name: &str) -> Option<&Arc<dyn Backend>> {
        self.backends.iter().find(|backend| backend.name() == name)
    }

    /// Unloads, in the background, what was loaded for the policy and is not served by it any more.
    fn retire(self: &Arc<Self>, name: &str, served: &[u64]) {
        let mut leaving = Vec::new();
        if let Ok(entry) = lock(&self.shelf).entry_mut(name) {
            let versions = entry.versions.iter_mut();
            for (_, version) in versions.filter(|(number, version)| !version.pinned && !served.contains(number)) {
                leaving.extend(take_ready(&mut version.state));
            }
        }
        for loaded in leaving {
            let (repository, in_background) = (Arc::clone(self), Arc::clone(&loaded));
            if spawn("unload", move || repository.finish_unload(in_background)).is_err() {
                self.finish_unload(loaded);
            }
        }
    }

    fn finish_unload(&self, loaded: Arc<Loaded>) {
        loaded.wait_for_leases(self.settings.unload_wait_max);
        let _ = guarded(|| {
            loaded.stop();
            Ok(())
        });
        let (name, version) = (loaded.name.clone(), loaded.version);
        drop(loaded);
        memory::give_freed_memory_back();
        self.mark_unloaded(&name, version);
    }

    fn mark_unloaded(&self, name: &str, version: u64) {
        if let Ok(version) = lock(&self.shelf).version_mut(name, version) {
            version.state = State::Unloaded;
        }
        self.changed.notify_all();
    }
}

/// The version asked for, or those that the policy serves, newest first; at least one.
fn wanted_versions(shelf: &Shelf, name: &str, version: Option<u64>) -> Result<Vec<u64>, EngineError> {
    let entry = shelf.entry(name)?;
    entry.manifest()?;
    match version {
        Some(number) if entry.versions.contains_key(&number) => Ok(vec![number]),
        Some(number) => Err(version_not_found(name, number)),
        None => Some(entry.served()).filter(|served| !served.is_empty()).ok_or_else(|| {
            let message = format!("The model \"{name}\" has none of the versions that its policy serves.");
            EngineError::new(Reason::ModelNotFound, message)
        }),
    }
}

/// Marks the version as loading.
fn order(shelf: &mut Shelf, name: &str, version: u64) -> Result<Order, EngineError> {
    let manifest = Arc::clone(shelf.entry(name)?.manifest()?);
    let entry = shelf.version_mut(name, version)?;
    entry.state = State::Loading;
    Ok(Order { name: name.to_owned(), version, folder: entry.folder.clone(), manifest })
}

/// The loaded version, if it is ready; nobody else gets it from then on. One that failed is as good as unloaded.
fn take_ready(state: &mut State) -> Option<Arc<Loaded>> {
    match state {
        State::Ready(loaded) => {
            let loaded = Arc::clone(loaded);
            *state = State::Unloading;
            Some(loaded)
        }
        State::Failed(_) => {
            *state = State::Unloaded;
            None
        }
        State::Unloaded | State::Loading | State::Unloading => None,
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), EngineError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(|_| ()).map_err(|_| EngineError::new(Reason::Internal, "The system gives the engine no more threads."))
}
