//! What lies in the repository's folder: one folder a model, with `model.json` and numbered folders of versions.

use super::manifest::{Manifest, VersionManifest, read_manifest_file};
use super::names::{check_name, version_number};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name of a model's manifest.
pub const MODEL_FILE: &str = "model.json";
/// Name of a version's manifest.
pub const VERSION_FILE: &str = "version.json";
/// Entries of one folder that are looked at, at most.
pub const ENTRIES_MAX: usize = 100_000;

/// A model as it lies on the disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The folder's name.
    pub name: String,
    /// The manifest, or what is wrong with it.
    pub manifest: Result<Manifest, String>,
    /// Folders of the versions. A model without numbered folders has one version, 1, in the model's own folder.
    pub versions: BTreeMap<u64, PathBuf>,
}

/// All models in the folder, by name.
pub fn scan(repository: &Path) -> std::io::Result<Vec<Found>> {
    let mut names: Vec<String> = std::fs::read_dir(repository)?
        .take(ENTRIES_MAX)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| check_name(name).is_ok())
        .collect();
    names.sort_unstable();
    Ok(names.into_iter().filter_map(|name| scan_model(repository, &name)).collect())
}

/// One model, or none where there is no such folder, or no manifest in it. `name` must have been checked.
pub fn scan_model(repository: &Path, name: &str) -> Option<Found> {
    let folder = repository.join(name);
    let manifest = match read_manifest_file(&folder.join(MODEL_FILE)) {
        Ok(None) => return None,
        Ok(Some(json)) => Manifest::parse(&json),
        Err(error) => Err(error),
    };
    let manifest = manifest.map_err(|error| format!("{MODEL_FILE} of \"{name}\" is at fault: {error}."));
    Some(Found { name: name.to_owned(), manifest, versions: versions(folder) })
}

fn versions(folder: PathBuf) -> BTreeMap<u64, PathBuf> {
    let numbered: BTreeMap<u64, PathBuf> = std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .take(ENTRIES_MAX)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = version_number(entry.file_name().to_str()?)?;
            entry.path().is_dir().then(|| (version, entry.path()))
        })
        .collect();
    if numbered.is_empty() { BTreeMap::from([(1, folder)]) } else { numbered }
}

/// The manifest of the version in `folder`: the model's, with the version's differences if it has a file of them.
pub fn version_manifest(name: &str, model: &Manifest, folder: &Path) -> Result<Manifest, String> {
    let fault = |error: String| format!("{VERSION_FILE} of \"{name}\" is at fault: {error}.");
    match read_manifest_file(&folder.join(VERSION_FILE)).map_err(fault)? {
        None => Ok(model.clone()),
        Some(json) => {
            let version: VersionManifest = serde_json::from_slice(&json).map_err(|error| fault(error.to_string()))?;
            Ok(model.with_version(version))
        }
    }
}
