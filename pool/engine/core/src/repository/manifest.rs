//! `model.json` and `version.json`: what the repository must know of a model. The format is described in
//! `docs/POOL-MODELS.md`.

use crate::backend::Capability;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

/// Bytes of a manifest, at most.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// `model.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The backend's name, such as `candle`.
    pub backend: String,
    /// What the model can do, for lists that are asked for before it is loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// Files by role.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileReference>,
    /// The backend's own settings.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
    /// Which versions are served.
    #[serde(default)]
    pub versions: VersionPolicy,
    /// When they are loaded.
    #[serde(default)]
    pub load: LoadTime,
    /// What a version does before it answers.
    #[serde(default, skip_serializing_if = "WarmUp::is_default")]
    pub warm_up: WarmUp,
    /// Several calls answered as one; absent: each call on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batching: Option<BatchingSettings>,
    /// Bytes that the model will hold, to judge before loading whether it fits; absent: the size of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// `version.json`: what differs from `model.json` in one version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VersionManifest {
    /// Replace, or add to, the model's files, role by role.
    pub files: BTreeMap<String, FileReference>,
    /// Replace, or add to, the model's settings, key by key.
    pub settings: Map<String, Value>,
    /// What its training measured; for people.
    pub metrics: BTreeMap<String, f64>,
}

/// Where a file lies: a path, or a path and what its content must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FileReference {
    /// Relative to the version's folder, absolute, or `cache:<model>/<file>`.
    Path(String),
    /// The same, checked before each load.
    Checked(CheckedFile),
}

/// A file whose content is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckedFile {
    /// As in [`FileReference::Path`].
    pub path: String,
    /// Hexadecimal, of the whole file.
    pub sha256: String,
}

impl FileReference {
    /// The path as it is written.
    pub fn path(&self) -> &str {
        match self {
            Self::Path(path) | Self::Checked(CheckedFile { path, .. }) => path,
        }
    }
}

/// Which versions are loaded at the start, by a call, and by a load that names none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionPolicy {
    /// The newest ones, this many.
    Latest(NonZeroUsize),
    /// Every one.
    All,
    /// These.
    Specific(Vec<u64>),
}

impl Default for VersionPolicy {
    fn default() -> Self {
        Self::Latest(NonZeroUsize::MIN)
    }
}

impl VersionPolicy {
    /// Those of `versions` that are served, newest first.
    pub fn select(&self, versions: impl DoubleEndedIterator<Item = u64>) -> Vec<u64> {
        let newest_first = versions.rev();
        match self {
            Self::Latest(count) => newest_first.take(count.get()).collect(),
            Self::All => newest_first.collect(),
            Self::Specific(wanted) => newest_first.filter(|version| wanted.contains(version)).collect(),
        }
    }
}

/// When a model is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadTime {
    /// When the engine starts; calls that come before it is ready fail at once.
    Startup,
    /// When it is first called; that call, and those that come meanwhile, wait.
    #[default]
    Demand,
}

/// What a version does between loading and answering, so that the first caller does not pay for cold memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarmUp {
    /// Calls, 0 to [`WarmUp::CALLS_MAX`]; 0: none.
    pub calls: u32,
    /// Text to embed, or to go on from.
    pub text: String,
    /// Shapes of the inputs by name, filled with zeros; needed where an input has other free dimensions than its first.
    pub inputs: BTreeMap<String, Vec<i64>>,
}

impl WarmUp {
    /// Calls, at most.
    pub const CALLS_MAX: u32 = 100;

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for WarmUp {
    fn default() -> Self {
        Self { calls: 1, text: "Hello".to_owned(), inputs: BTreeMap::new() }
    }
}

/// How calls are put together; see [`crate::batching`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchingSettings {
    /// Rows, or texts, of one batch, 1 to [`BatchingSettings::SIZE_MAX`].
    pub size_max: usize,
    /// Microseconds that a call waits for others while nothing runs, 0 to [`BatchingSettings::WAIT_US_MAX`]. 0: batches
    /// are made of what came while the one before ran.
    pub wait_us: u64,
    /// Calls that may wait, 1 to [`BatchingSettings::QUEUE_MAX`]; one more is refused with `OVERLOADED`.
    pub queue_max: usize,
    /// Batches that run at once, 1 to [`BatchingSettings::PARALLEL_MAX`].
    pub parallel: usize,
}

impl BatchingSettings {
    /// Largest `size_max`.
    pub const SIZE_MAX: usize = 65_536;
    /// Largest `wait_us`: a second.
    pub const WAIT_US_MAX: u64 = 1_000_000;
    /// Largest `queue_max`.
    pub const QUEUE_MAX: usize = 1 << 20;
    /// Largest `parallel`.
    pub const PARALLEL_MAX: usize = 256;
}

impl Default for BatchingSettings {
    fn default() -> Self {
        Self { size_max: 32, wait_us: 0, queue_max: 1024, parallel: 1 }
    }
}

impl Manifest {
    /// A manifest with nothing but a backend.
    pub fn new(backend: impl Into<String>) -> Self {
        Self {
            backend: backend.into(),
            capabilities: Vec::new(),
            files: BTreeMap::new(),
            settings: Map::new(),
            versions: VersionPolicy::default(),
            load: LoadTime::default(),
            warm_up: WarmUp::default(),
            batching: None,
            memory_bytes: None,
        }
    }

    /// Reads `model.json`; the error is a sentence for people.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The manifest with a version's differences.
    pub fn with_version(&self, version: VersionManifest) -> Self {
        let mut manifest = self.clone();
        manifest.files.extend(version.files);
        manifest.settings.extend(version.settings);
        manifest
    }

    fn check(&self) -> Result<(), String> {
        fn within<N: PartialOrd + std::fmt::Display>(name: &str, value: N, least: N, most: N) -> Result<(), String> {
            let fits = value >= least && value <= most;
            if fits { Ok(()) } else { Err(format!("{name} is {value}, which is not within {least} and {most}")) }
        }
        within("warm_up.calls", self.warm_up.calls, 0, WarmUp::CALLS_MAX)?;
        if let VersionPolicy::Specific(versions) = &self.versions
            && (versions.is_empty() || versions.contains(&0))
        {
            return Err("versions.specific names at least one version, each from 1".to_owned());
        }
        if let Some(batching) = &self.batching {
            within("batching.size_max", batching.size_max, 1, BatchingSettings::SIZE_MAX)?;
            within("batching.wait_us", batching.wait_us, 0, BatchingSettings::WAIT_US_MAX)?;
            within("batching.queue_max", batching.queue_max, 1, BatchingSettings::QUEUE_MAX)?;
            within("batching.parallel", batching.parallel, 1, BatchingSettings::PARALLEL_MAX)?;
        }
        Ok(())
    }
}

/// The content of a manifest's file, or a sentence for people; none where there is no such file.
pub fn read_manifest_file(path: &Path) -> Result<Option<Vec<u8>>, String> {
    use std::io::Read;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("it cannot be read: {error}")),
    };
    let mut json = Vec::new();
    file.take(MANIFEST_BYTES_MAX + 1).read_to_end(&mut json).map_err(|error| format!("it cannot be read: {error}"))?;
    if json.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(format!("it has over {MANIFEST_BYTES_MAX} bytes"));
    }
    Ok(Some(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_manifest_is_read_and_written_again_unchanged() {
        let json = r#"{
            "backend": "onnx", "capabilities": ["infer", "embed"],
            "files": {"weights": "model.onnx", "tokenizer": {"path": "cache:m/t.json", "sha256": "00"}},
            "settings": {"outputs": ["x"]}, "versions": {"specific": [1, 3]}, "load": "startup",
            "warm_up": {"calls": 2, "inputs": {"x": [1, 8]}},
            "batching": {"size_max": 8, "wait_us": 500}, "memory_bytes": 7
        }"#;
        let manifest = Manifest::parse(json.as_bytes()).expect("valid");
        assert_eq!(manifest.versions, VersionPolicy::Specific(vec![1, 3]));
        assert_eq!(manifest.load, LoadTime::Startup);
        assert_eq!(manifest.capabilities, [Capability::Infer, Capability::Embed]);
        assert_eq!(manifest.files["tokenizer"].path(), "cache:m/t.json");
        assert_eq!(manifest.batching.map(|batching| (batching.wait_us, batching.queue_max)), Some((500, 1024)));
        let written = serde_json::to_vec(&manifest).expect("encodes");
        assert_eq!(Manifest::parse(&written), Ok(manifest));
    }

    #[test]
    fn the_shortest_manifest_serves_the_newest_version_on_demand() {
        let manifest = Manifest::parse(br#"{"backend": "burn"}"#).expect("valid");
        assert_eq!(manifest, Manifest::new("burn"));
        assert_eq!(serde_json::to_string(&manifest.versions).expect("encodes"), r#"{"latest":1}"#);
    }

    #[test]
    fn a_manifest_at_fault_says_where() {
        for (json, part) in [
            ("{}", "backend"),
            ("[", "EOF"),
            (r#"{"backend":"x","lod":"startup"}"#, "lod"),
            (r#"{"backend":"x","versions":{"latest":0}}"#, "nonzero"),
            (r#"{"backend":"x","versions":{"specific":[]}}"#, "versions.specific"),
            (r#"{"backend":"x","versions":{"specific":[0]}}"#, "versions.specific"),
            (r#"{"backend":"x","versions":"newest"}"#, "newest"),
            (r#"{"backend":"x","batching":{"size_max":0}}"#, "batching.size_max is 0"),
            (r#"{"backend":"x","batching":{"wait_us":1000001}}"#, "batching.wait_us is 1000001"),
            (r#"{"backend":"x","warm_up":{"calls":101}}"#, "warm_up.calls is 101"),
            (r#"{"backend":"x","capabilities":["sing"]}"#, "sing"),
        ] {
            let error = Manifest::parse(json.as_bytes()).expect_err(json);
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    #[test]
    fn a_version_overrides_file_by_file_and_setting_by_setting() {
        let model =
            Manifest::parse(br#"{"backend":"x","files":{"a":"1","b":"2"},"settings":{"k":1,"l":2}}"#).expect("valid");
        let version: VersionManifest =
            serde_json::from_str(r#"{"files":{"b":"3","c":"4"},"settings":{"l":5}}"#).expect("valid");
        let merged = model.with_version(version);
        let paths: Vec<_> = merged.files.values().map(FileReference::path).collect();
        assert_eq!(paths, ["1", "3", "4"]);
        assert_eq!(serde_json::to_string(&merged.settings).expect("encodes"), r#"{"k":1,"l":5}"#);
    }

    #[test]
    fn a_policy_selects_newest_first() {
        let select = |policy: VersionPolicy| policy.select([1, 2, 5].into_iter());
        assert_eq!(select(VersionPolicy::default()), [5]);
        assert_eq!(select(VersionPolicy::Latest(NonZeroUsize::new(2).expect("2"))), [5, 2]);
        assert_eq!(select(VersionPolicy::All), [5, 2, 1]);
        assert_eq!(select(VersionPolicy::Specific(vec![1, 4, 2])), [2, 1]);
        assert!(VersionPolicy::All.select(std::iter::empty()).is_empty());
    }
}
