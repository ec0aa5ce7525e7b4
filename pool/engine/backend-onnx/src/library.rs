//! Where ONNX Runtime's library is, and loading it once.
//!
//! It is not linked: a node without ONNX models needs no ONNX Runtime. PyPI's wheel `onnxruntime` carries it as
//! `onnxruntime/capi/libonnxruntime.so.*`.

use engine_core::{EngineError, Reason};
use ort::environment::Environment;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Names the library where the manifest does not.
pub const VARIABLE: &str = "ORT_DYLIB_PATH";
/// The model cache, which has a folder for the library; where it is not set, the cache is in the home folder.
pub const CACHE_VARIABLE: &str = "TREELINE_MODEL_DIRECTORY";
/// Folders of the system that are searched after the cache.
pub const FOLDERS: [&str; 3] = ["/usr/local/lib", "/usr/lib", "/opt/onnxruntime/lib"];
/// How the library's name begins; the rest is its version.
const NAME: &str = "libonnxruntime.so";

/// The library that was loaded, which stays for the life of the process.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The environment that sessions live in, of the library at `path`, or where it is found. The first call loads it; a later
/// call that names another library fails, since a process can hold one alone.
pub fn environment(path: Option<&Path>) -> Result<Environment, EngineError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((from, environment)) = loaded.as_ref() {
        return match path {
            Some(path) if path != from => Err(unavailable(format!(
                "ONNX Runtime is loaded from {} already; this process cannot load {} too.",
                from.display(),
                path.display()
            ))),
            _ => Ok(environment.clone()),
        };
    }
    let path = match path {
        Some(path) => path.to_owned(),
        None => find(std::env::var_os(VARIABLE).map(PathBuf::from), &folders())?,
    };
    let environment = load(&path)?;
    *loaded = Some((path, environment.clone()));
    Ok(environment)
}

fn load(path: &Path) -> Result<Environment, EngineError> {
    let builder =
        ort::init_from(path).map_err(|error| unavailable(format!("ONNX Runtime cannot be loaded: {error}.")))?;
    builder
        .with_name("treeline")
        .with_telemetry(false)
        .build()
        .map_err(|error| unavailable(format!("ONNX Runtime does not start: {}.", error.message())))
}

fn folders() -> Vec<PathBuf> {
    let home = || std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let named = std::env::var_os(CACHE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let cache = named.unwrap_or_else(|| home().join(".cache/treeline/models"));
    std::iter::once(cache.join("onnxruntime")).chain(FOLDERS.map(PathBuf::from)).collect()
}

/// The library: `named`, or of the highest version in the first folder that has one.
fn find(named: Option<PathBuf>, folders: &[PathBuf]) -> Result<PathBuf, EngineError> {
    if let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) {
        return Ok(path);
    }
    let newest = folders.iter().find_map(|folder| candidates(folder).max_by_key(|path| version(path)));
    newest.ok_or_else(|| {
        let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        unavailable(format!(
            "ONNX Runtime's library was not found. Put {NAME}.* of the Python package onnxruntime into {}, set {VARIABLE} to \
             its path, or name it as \"library\" in the model's settings. Searched: {}.",
            folders.first().cloned().unwrap_or_default(),
            folders.join(", ")
        ))
    })
}

fn candidates(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| file_name(path).starts_with(NAME))
}

/// Numbers of the version, so that 1.9 comes before 1.32; a name without a version, which is a link, last.
fn version(path: &Path) -> Vec<u32> {
    file_name(path).trim_start_matches(NAME).split('.').filter_map(|part| part.parse().ok()).collect()
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn unavailable(message: String) -> EngineError {
    EngineError::new(Reason::ModelNotReady, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_of_the_first_folder_is_taken() {
        let root = std::env::temp_dir().join(format!("treeline-onnx-{}", std::process::id()));
        let (first, second) = (root.join("first"), root.join("second"));
        std::fs::create_dir_all(&first).unwrap();
        std::fs::create_dir_all(&second).unwrap();
        for (folder, name) in [(&first, "1.9.0"), (&first, "1.32.0"), (&second, "1.40.0")] {
            std::fs::write(folder.join(format!("{NAME}.{name}")), b"").unwrap();
        }
        let found = find(None, &[root.join("none"), first.clone(), second]);
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(found.unwrap(), first.join(format!("{NAME}.1.32.0")));
    }

    #[test]
    fn a_missing_library_says_what_to_do() {
        let error = find(None, &[PathBuf::from("/nowhere/at/all")]).unwrap_err();
        for text in ["onnxruntime", VARIABLE, "\"library\"", "/nowhere/at/all"] {
            assert!(error.message.contains(text), "{}", error.message);
        }
        assert_eq!(find(Some("/named.so".into()), &[]).unwrap(), Path::new("/named.so"));
    }
}
