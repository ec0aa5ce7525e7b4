//! From a file's name in a manifest to a path, with its content checked where the manifest says what it is.

use super::manifest::{CheckedFile, FileReference};
use crate::error::{EngineError, Reason};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Before the names of files in the model cache.
const CACHE: &str = "cache:";

/// Where files are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Places<'place> {
    /// The version's folder.
    pub version: &'place Path,
    /// The model cache.
    pub cache: &'place Path,
}

/// The files' absolute paths by role, and how many bytes they have together. Fails where one is missing, or is not what the
/// manifest says.
pub fn resolve(
    model: &str,
    files: &BTreeMap<String, FileReference>,
    places: Places<'_>,
) -> Result<(BTreeMap<String, PathBuf>, u64), EngineError> {
    let mut paths = BTreeMap::new();
    let mut bytes = 0_u64;
    for (role, reference) in files {
        let fault = |message: String| {
            EngineError::new(Reason::ModelNotReady, format!("The file \"{role}\" of \"{model}\" {message}."))
        };
        let path = locate(reference.path(), places).map_err(fault)?;
        let metadata = std::fs::metadata(&path)
            .map_err(|error| fault(format!("(\"{}\") cannot be read: {error}", reference.path())))?;
        if let FileReference::Checked(checked) = reference {
            check_content(&path, checked).map_err(fault)?;
        }
        bytes = bytes.saturating_add(metadata.len());
        paths.insert(role.clone(), path);
    }
    Ok((paths, bytes))
}

/// The path of a reference; relative ones stay inside their folder.
fn locate(reference: &str, places: Places<'_>) -> Result<PathBuf, String> {
    let (folder, relative) = match reference.strip_prefix(CACHE) {
        Some(relative) => (places.cache, Path::new(relative)),
        None if Path::new(reference).is_absolute() => return Ok(PathBuf::from(reference)),
        None => (places.version, Path::new(reference)),
    };
    let inside = relative.components().all(|component| matches!(component, Component::Normal(_)));
    if inside && relative.components().next().is_some() {
        Ok(folder.join(relative))
    } else {
        Err(format!("has the path \"{reference}\", which leaves its folder; write such a path absolute"))
    }
}

fn check_content(path: &Path, checked: &CheckedFile) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("(\"{}\") cannot be read: {error}", checked.path);
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(unreadable)?;
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found.eq_ignore_ascii_case(&checked.sha256) {
        return Ok(());
    }
    Err(format!("(\"{}\") has the SHA-256 {found}, not {} as the manifest says", checked.path, checked.sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places<'static> {
        Places { version: Path::new("/models/m/1"), cache: Path::new("/cache") }
    }

    #[test]
    fn a_reference_is_relative_absolute_or_cached() {
        assert_eq!(locate("a/b.bin", places()), Ok(PathBuf::from("/models/m/1/a/b.bin")));
        assert_eq!(locate("/elsewhere/b.bin", places()), Ok(PathBuf::from("/elsewhere/b.bin")));
        assert_eq!(locate("cache:m/b.bin", places()), Ok(PathBuf::from("/cache/m/b.bin")));
        for bad in ["", ".", "..", "../b", "a/../../b", "cache:", "cache:../b", "cache:/etc/passwd", "./b"] {
            assert!(locate(bad, places()).is_err(), "{bad}");
        }
    }
}
