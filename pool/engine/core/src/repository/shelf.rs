//! What the repository knows: models, their versions, and the state of each. Decides; does nothing.

use super::disk::Found;
use super::loaded::{Lease, Loaded};
use super::manifest::{LoadTime, Manifest};
use super::names::{model_not_found, version_not_found};
use crate::backend::Capability;
use crate::error::{EngineError, Reason};
use contract::v1::{self, ModelState};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// All models by name.
#[derive(Default)]
pub struct Shelf {
    models: BTreeMap<String, Entry>,
}

/// A model.
pub struct Entry {
    /// Its manifest, or what is wrong with it.
    pub manifest: Result<Arc<Manifest>, String>,
    /// Its versions.
    pub versions: BTreeMap<u64, Version>,
}

/// A version of a model.
pub struct Version {
    /// Where its files lie.
    pub folder: PathBuf,
    /// Whether it answers.
    pub state: State,
    /// Was loaded by its number, and so stays when the policy goes on to others.
    pub pinned: bool,
    /// Was unloaded by a call, and so is not loaded by the next one.
    pub held_back: bool,
}

/// Whether a version answers.
pub enum State {
    /// On the disk alone.
    Unloaded,
    /// A thread loads it.
    Loading,
    /// It answers.
    Ready(Arc<Loaded>),
    /// Its last calls run.
    Unloading,
    /// It could not be loaded.
    Failed(EngineError),
}

/// What to do for a call.
pub enum Choice {
    /// This version answers.
    Answer(Lease),
    /// Load this version, and wait.
    Load(u64),
    /// Somebody loads it; wait.
    Wait,
}

impl Version {
    fn new(folder: PathBuf) -> Self {
        Self { folder, state: State::Unloaded, pinned: false, held_back: false }
    }

    fn is_idle(&self) -> bool {
        matches!(self.state, State::Unloaded | State::Failed(_))
    }

    /// Whether it answers.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }
}

impl Entry {
    /// The manifest, or an error for a caller.
    pub fn manifest(&self) -> Result<&Arc<Manifest>, EngineError> {
        self.manifest.as_ref().map_err(|fault| EngineError::new(Reason::ModelNotReady, fault.clone()))
    }

    /// Versions that the policy serves, newest first; none where the manifest is at fault.
    pub fn served(&self) -> Vec<u64> {
        let versions = self.versions.keys().copied();
        self.manifest.as_ref().map(|manifest| manifest.versions.select(versions)).unwrap_or_default()
    }

    /// The version for a call that names none: the newest that is ready and served, else the newest served that may be
    /// loaded, else the newest that is ready at all, else the newest served.
    fn default_version(&self) -> Option<u64> {
        let served = self.served();
        let mut ready = self.versions.iter().rev().filter(|(_, version)| version.is_ready());
        let current = ready.clone().find(|(number, version)| !version.pinned || served.contains(number));
        current
            .map(|(number, _)| *number)
            .or_else(|| served.iter().copied().find(|number| !self.versions[number].held_back))
            .or_else(|| ready.next().map(|(number, _)| *number))
            .or_else(|| served.first().copied())
    }
}

impl Shelf {
    /// All models.
    pub fn entries(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.models.iter()
    }

    /// A model.
    pub fn entry(&self, name: &str) -> Result<&Entry, EngineError> {
        self.models.get(name).ok_or_else(|| model_not_found(name))
    }

    /// A model, for a change.
    pub fn entry_mut(&mut self, name: &str) -> Result<&mut Entry, EngineError> {
        self.models.get_mut(name).ok_or_else(|| model_not_found(name))
    }

    /// A version, for a change.
    pub fn version_mut(&mut self, name: &str, version: u64) -> Result<&mut Version, EngineError> {
        self.entry_mut(name)?.versions.get_mut(&version).ok_or_else(|| version_not_found(name, version))
    }

    /// Takes over what was found on the disk. Versions in use stay, whatever became of their folders.
    pub fn merge(&mut self, found: Vec<Found>) {
        let names: std::collections::BTreeSet<String> = found.iter().map(|model| model.name.clone()).collect();
        found.into_iter().for_each(|model| self.merge_model(model));
        for (_, entry) in self.models.iter_mut().filter(|(name, _)| !names.contains(*name)) {
            entry.versions.retain(|_, version| !version.is_idle());
        }
        self.models.retain(|_, entry| !entry.versions.is_empty());
    }

    /// The same for one model.
    pub fn merge_model(&mut self, found: Found) {
        let manifest = found.manifest.map(Arc::new);
        let entry = self
            .models
            .entry(found.name)
            .or_insert_with(|| Entry { manifest: Err(String::new()), versions: BTreeMap::new() });
        entry.manifest = manifest;
        entry.versions.retain(|number, version| !version.is_idle() || found.versions.contains_key(number));
        for (number, folder) in found.versions {
            entry.versions.entry(number).or_insert_with(|| Version::new(folder));
        }
    }

    /// What to do for a call to `name`; none as `version` leaves the choice to the policy.
    pub fn choose(&self, name: &str, version: Option<u64>) -> Result<Choice, EngineError> {
        let entry = self.entry(name)?;
        let not_ready =
            |what: &str| Err(EngineError::new(Reason::ModelNotReady, format!("The model \"{name}\" {what}.")));
        let Some(number) = version.or_else(|| entry.default_version()) else {
            entry.manifest()?;
            return not_ready("has none of the versions that its policy serves");
        };
        let version = entry.versions.get(&number).ok_or_else(|| version_not_found(name, number))?;
        if let State::Ready(loaded) = &version.state {
            return Ok(Choice::Answer(loaded.lease()));
        }
        let on_demand =
            entry.manifest()?.load == LoadTime::Demand && !version.held_back && entry.served().contains(&number);
        match &version.state {
            State::Loading if on_demand => Ok(Choice::Wait),
            State::Loading => not_ready("is still loading"),
            State::Unloading => not_ready("is being unloaded"),
            // There may be room now; to look costs nothing.
            State::Failed(error) if on_demand && error.reason == Reason::MemoryExceeded => Ok(Choice::Load(number)),
            State::Failed(error) => Err(error.clone()),
            State::Unloaded if on_demand => Ok(Choice::Load(number)),
            State::Unloaded => not_ready(&format!("has version {number} in the repository, but not loaded")),
            State::Ready(_) => unreachable!("answered above"),
        }
    }

    /// The model as clients see it: each version that is not merely on the disk, or else the newest that is served.
    pub fn describe(&self, name: &str) -> Vec<v1::Model> {
        let Some(entry) = self.models.get(name) else { return Vec::new() };
        let mut shown: Vec<u64> = entry
            .versions
            .iter()
            .rev()
            .filter(|(_, version)| !matches!(version.state, State::Unloaded))
            .map(|(number, _)| *number)
            .collect();
        if shown.is_empty() {
            shown.extend(entry.served().first().or(entry.versions.keys().next_back()));
        }
        shown.into_iter().map(|number| describe(name, entry, number)).collect()
    }

    /// One version as clients see it.
    pub fn describe_version(&self, name: &str, version: u64) -> Result<v1::Model, EngineError> {
        let entry = self.entry(name)?;
        if entry.versions.contains_key(&version) {
            Ok(describe(name, entry, version))
        } else {
            Err(version_not_found(name, version))
        }
    }
}

fn describe(name: &str, entry: &Entry, number: u64) -> v1::Model {
    let mut model = v1::Model {
        name: name.to_owned(),
        version: number.to_string(),
        versions: entry.versions.keys().rev().map(u64::to_string).collect(),
        ..v1::Model::default()
    };
    match &entry.manifest {
        Ok(manifest) => {
            model.backend.clone_from(&manifest.backend);
            model.capabilities = manifest.capabilities.iter().map(|capability| capability.name().to_owned()).collect();
        }
        Err(fault) => model.reason.clone_from(fault),
    }
    let state = match &entry.versions[&number].state {
        State::Ready(loaded) => {
            describe_loaded(&mut model, loaded);
            ModelState::Ready
        }
        State::Failed(error) => {
            model.reason.clone_from(&error.message);
            ModelState::Failed
        }
        State::Unloaded if entry.manifest.is_err() => ModelState::Failed,
        State::Unloaded => ModelState::Unloaded,
        State::Loading => ModelState::Loading,
        State::Unloading => ModelState::Unloading,
    };
    model.set_state(state);
    model
}

fn describe_loaded(model: &mut v1::Model, loaded: &Loaded) {
    let description = loaded.description();
    // As the manifest names it; one that cannot be read any more leaves what the model says.
    if model.backend.is_empty() {
        description.backend.clone_into(&mut model.backend);
    }
    model.capabilities = description.capabilities.iter().map(|capability| capability.name().to_owned()).collect();
    // What embeds also ranks, by cosine.
    if description.capabilities.contains(&Capability::Embed) && !description.capabilities.contains(&Capability::Rerank)
    {
        model.capabilities.push(Capability::Rerank.name().to_owned());
    }
    model.inputs.clone_from(&description.inputs);
    model.outputs.clone_from(&description.outputs);
    model.memory_bytes = loaded.memory_bytes();
    model.context_length = description.context_length;
    model.batch_size_max = loaded.batch_size_max();
}
