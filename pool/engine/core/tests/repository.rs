//! The model repository on a real folder.

mod support;

use contract::engine::EngineStats;
use contract::v1::{ModelState, TrainModelRequest};
use engine_core::repository::{Repository, RepositorySettings};
use engine_core::{CallContext, Reason};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::*;

const SIMPLE: &str = r#"{"backend": "scripted"}"#;

fn load(
    repository: &Arc<Repository>,
    name: &str,
    version: &str,
) -> Result<contract::v1::Model, engine_core::EngineError> {
    repository.load(&CallContext::default(), name, version)
}

fn unload(repository: &Arc<Repository>, name: &str, version: &str) -> Result<(), engine_core::EngineError> {
    repository.unload(&CallContext::default(), name, version)
}

fn refusal(result: Result<i64, engine_core::EngineError>) -> (Reason, String) {
    let error = result.expect_err("refused");
    (error.reason, error.message)
}

fn states(repository: &Repository, name: &str) -> Vec<(String, ModelState, String)> {
    let models = repository.list().into_iter().filter(|model| model.name == name);
    models.map(|model| (model.version.clone(), model.state(), model.reason)).collect()
}

fn memory(repository: &Repository) -> u64 {
    let mut stats = EngineStats::default();
    repository.add_stats(&mut stats);
    stats.memory_bytes
}

#[test]
fn a_broken_manifest_breaks_its_own_model_alone() {
    let folder = Folder::new();
    folder.write("good/model.json", SIMPLE).write("bad/model.json", r#"{"backend": 7}"#);
    folder.write("odd/model.json", r#"{"backend": "unheard-of"}"#).write("not-a-model/readme.txt", "");
    let repository = folder.open();
    assert_eq!(ask(&repository, "good", ""), Ok(1));
    let (reason, message) = refusal(ask(&repository, "bad", ""));
    assert_eq!(reason, Reason::ModelNotReady);
    assert!(message.starts_with("model.json of \"bad\" is at fault: invalid type: integer `7`"), "{message}");
    let (reason, message) = refusal(ask(&repository, "odd", ""));
    assert_eq!(reason, Reason::ModelNotReady);
    assert_eq!(message, "The model \"odd\" needs the backend \"unheard-of\", which is not built in.");
    assert_eq!(refusal(ask(&repository, "not-a-model", "")).0, Reason::ModelNotFound);
    assert_eq!(states(&repository, "bad")[0].1, ModelState::Failed);
    assert_eq!(states(&repository, "good"), [("1".to_owned(), ModelState::Ready, String::new())]);
    folder.write("bad/model.json", SIMPLE);
    assert_eq!(load(&repository, "bad", "").map(|model| model.state()), Ok(ModelState::Ready));
}

#[test]
fn a_folder_that_is_not_there_is_an_error_and_an_empty_name_is_a_repository_without_models() {
    let folder = Folder::new();
    let settings = |path: std::path::PathBuf| RepositorySettings {
        folder: path,
        cache: std::path::PathBuf::new(),
        memory_bytes_max: 0,
        threads: 1,
        unload_wait_max: Duration::ZERO,
        load: Vec::new(),
    };
    let error = Repository::open(settings(folder.0.join("missing")), Vec::new()).err().expect("fails");
    assert!(error.message.contains("missing"), "{error}");
    let repository = Repository::open(settings(std::path::PathBuf::new()), Vec::new()).expect("opens");
    assert!(repository.list().is_empty());
    assert_eq!(refusal(ask(&repository, "m", "")).0, Reason::ModelNotFound);
}

#[test]
fn calls_that_come_at_once_load_a_model_once_and_all_are_answered() {
    let folder = Folder::new();
    folder
        .write("once/model.json", r#"{"backend": "scripted", "settings": {"load_ms": 100}, "warm_up": {"calls": 0}}"#);
    let repository = folder.open();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| ask(&repository, "once", ""))).collect();
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().expect("no panic"), Ok(1)));
    });
    assert_eq!(events("once").iter().filter(|event| *event == "load 1").count(), 1);
}

#[test]
fn a_call_that_waits_for_a_model_goes_away_at_its_deadline_and_the_model_still_loads() {
    let folder = Folder::new();
    folder.write("slow/model.json", r#"{"backend": "scripted", "settings": {"load_ms": 400}}"#);
    let repository = folder.open();
    let mut call = CallContext::default();
    let begun = Instant::now();
    call.deadline = begun.checked_add(Duration::from_millis(50));
    let error = repository.find(&call, "slow", "").err().expect("too late");
    assert_eq!(error.reason, Reason::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(ask(&repository, "slow", ""), Ok(1));
    assert_eq!(events("slow").iter().filter(|event| event.starts_with("load")).count(), 1);
}

#[test]
fn a_startup_model_refuses_calls_until_it_is_ready() {
    let folder = Folder::new();
    let manifest = r#"{"backend": "scripted", "load": "startup", "settings": {"load_ms": 200}}"#;
    folder.write("early/model.json", manifest).write("named/model.json", SIMPLE).write("idle/model.json", SIMPLE);
    let repository = folder.open_with(|settings| settings.load = vec!["named:1".to_owned()]);
    assert_eq!(
        refusal(ask(&repository, "early", "")),
        (Reason::ModelNotReady, "The model \"early\" is still loading.".to_owned())
    );
    assert_eq!(states(&repository, "early")[0].1, ModelState::Loading);
    eventually("both are ready", || {
        ["early", "named"].iter().all(|name| states(&repository, name)[0].1 == ModelState::Ready)
    });
    assert_eq!(states(&repository, "idle")[0].1, ModelState::Unloaded);
    assert_eq!(ask(&repository, "early", ""), Ok(1));
    let settings = |settings: &mut RepositorySettings| settings.load = vec!["nowhere".to_owned()];
    let opened = std::panic::catch_unwind(|| folder.open_with(settings));
    assert!(opened.is_err(), "a model that is to be loaded must exist");
}

#[test]
fn a_policy_decides_which_versions_answer() {
    for (policy, served, default) in [
        (r#"{"latest": 1}"#, vec!["4"], 4),
        (r#"{"latest": 2}"#, vec!["4", "2"], 4),
        (r#""all""#, vec!["4", "2", "1"], 4),
        (r#"{"specific": [1, 2, 9]}"#, vec!["2", "1"], 2),
    ] {
        let folder = Folder::new();
        folder.write("m/model.json", &format!(r#"{{"backend": "scripted", "versions": {policy}}}"#));
        for version in ["1", "2", "4", "007", "draft"] {
            folder.write(&format!("m/{version}/note.txt"), "");
        }
        let repository = folder.open();
        for version in ["1", "2", "4"] {
            let expected = version.parse::<i64>().expect("a number");
            if served.contains(&version) {
                assert_eq!(ask(&repository, "m", version), Ok(expected), "{policy}");
            } else {
                let message = format!("The model \"m\" has version {version} in the repository, but not loaded.");
                assert_eq!(refusal(ask(&repository, "m", version)), (Reason::ModelNotReady, message), "{policy}");
            }
        }
        assert_eq!(ask(&repository, "m", ""), Ok(default), "{policy}");
        assert_eq!(refusal(ask(&repository, "m", "7")).0, Reason::ModelNotFound);
        assert_eq!(repository.list()[0].versions, ["4", "2", "1"]);
        let listed: Vec<_> = states(&repository, "m").into_iter().map(|(version, ..)| version).collect();
        assert_eq!(listed, served, "{policy}");
    }
}

#[test]
fn a_new_version_takes_over_without_a_gap_and_the_old_one_leaves_after_its_calls() {
    let folder = Folder::new();
    folder.write("take/model.json", SIMPLE).write("take/1/note.txt", "");
    let repository = folder.open();
    assert_eq!(ask(&repository, "take", ""), Ok(1));
    let running = repository.find(&CallContext::default(), "take", "").expect("answers");
    folder.write("take/2/note.txt", "");
    assert_eq!(load(&repository, "take", "").map(|model| model.version), Ok("2".to_owned()));
    assert_eq!(ask(&repository, "take", ""), Ok(2));
    assert_eq!(answer(&running), Ok(1), "the call that runs keeps its version");
    assert_eq!(states(&repository, "take")[1].1, ModelState::Unloading);
    drop(running);
    eventually("the old version is gone", || states(&repository, "take").len() == 1);
    assert!(events("take").ends_with(&["stop 1".to_owned(), "drop 1".to_owned()]), "{:?}", events("take"));
    // A version that is loaded by its number stays.
    assert_eq!(load(&repository, "take", "1").map(|model| model.version), Ok("1".to_owned()));
    load(&repository, "take", "").expect("loads");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!((ask(&repository, "take", "1"), ask(&repository, "take", "")), (Ok(1), Ok(2)));
}

#[test]
fn an_unload_waits_for_running_calls_and_lets_no_new_ones_in() {
    let folder = Folder::new();
    folder.write("leave/model.json", r#"{"backend": "scripted", "settings": {"bytes": 65536}}"#);
    let repository = folder.open();
    let running = repository.find(&CallContext::default(), "leave", "").expect("answers");
    assert_eq!(memory(&repository), 65536);
    std::thread::scope(|scope| {
        let unloading = scope.spawn(|| unload(&repository, "leave", ""));
        eventually("it is leaving", || states(&repository, "leave")[0].1 == ModelState::Unloading);
        let message = "The model \"leave\" is being unloaded.".to_owned();
        assert_eq!(refusal(ask(&repository, "leave", "")), (Reason::ModelNotReady, message));
        assert_eq!(answer(&running), Ok(1));
        assert!(!unloading.is_finished());
        drop(running);
        assert_eq!(unloading.join().expect("no panic"), Ok(()));
    });
    assert_eq!(memory(&repository), 0);
    let events = events("leave");
    assert!(events.ends_with(&["stop 1".to_owned(), "drop 1".to_owned()]), "{events:?}");
    assert_eq!(refusal(ask(&repository, "leave", "")).0, Reason::ModelNotReady, "it stays unloaded");
    assert_eq!(unload(&repository, "leave", ""), Ok(()), "once more changes nothing");
    load(&repository, "leave", "").expect("loads again");
    assert_eq!(ask(&repository, "leave", ""), Ok(1));
    assert_eq!(unload(&repository, "nobody", "").map_err(|error| error.reason), Err(Reason::ModelNotFound));
}

#[test]
fn an_unload_ends_calls_that_take_too_long_and_counts_their_memory_until_they_return() {
    let folder = Folder::new();
    folder.write("stuck/model.json", r#"{"backend": "scripted", "settings": {"bytes": 65536}}"#);
    let repository = folder.open_with(|settings| settings.unload_wait_max = Duration::from_millis(50));
    let running = repository.find(&CallContext::default(), "stuck", "").expect("answers");
    assert_eq!(unload(&repository, "stuck", ""), Ok(()));
    assert_eq!(events("stuck").last().map(String::as_str), Some("stop 1"));
    assert_eq!(memory(&repository), 65536);
    drop(running);
    assert_eq!((memory(&repository), events("stuck").last().map(String::as_str)), (0, Some("drop 1")));
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_the_figures_until_there_is_room() {
    let folder = Folder::new();
    let manifest = r#"{"backend": "scripted", "settings": {"bytes": 655360}}"#;
    folder.write("first/model.json", manifest).write("second/model.json", manifest);
    folder.write("declared/model.json", r#"{"backend": "scripted", "memory_bytes": 5000000}"#);
    let repository = folder.open_with(|settings| settings.memory_bytes_max = 1_000_000);
    assert_eq!(ask(&repository, "first", ""), Ok(1));
    let message = "The model \"second\" needs 655360 bytes; 655360 of 1000000 are held by other models.".to_owned();
    assert_eq!(refusal(ask(&repository, "second", "")), (Reason::MemoryExceeded, message.clone()));
    let error = load(&repository, "second", "").expect_err("does not fit");
    assert_eq!((error.reason, &error.message), (Reason::MemoryExceeded, &message));
    assert_eq!(states(&repository, "second"), [("1".to_owned(), ModelState::Failed, message)]);
    assert_eq!(events("second").last().map(String::as_str), Some("drop 1"), "what did not fit is gone");
    assert_eq!(refusal(ask(&repository, "declared", "")).0, Reason::MemoryExceeded);
    assert!(events("declared").is_empty(), "what is known not to fit is not even loaded");
    unload(&repository, "first", "").expect("unloads");
    assert_eq!(ask(&repository, "second", ""), Ok(1));
    assert_eq!(memory(&repository), 655_360);
}

#[test]
fn a_model_that_fails_to_load_says_why_and_is_tried_again_by_a_load() {
    let folder = Folder::new();
    folder.write("fails/model.json", r#"{"backend": "scripted", "settings": {"fail": "The weights are torn."}}"#);
    folder.write("panics/model.json", r#"{"backend": "scripted", "settings": {"panic": true}}"#);
    folder.write("cold/model.json", r#"{"backend": "scripted", "settings": {"fail_infer": true}}"#);
    let repository = folder.open();
    let torn = (Reason::ModelNotReady, "The weights are torn.".to_owned());
    assert_eq!(refusal(ask(&repository, "fails", "")), torn);
    assert_eq!(refusal(ask(&repository, "fails", "")), torn);
    assert_eq!(events("fails"), ["load 1"], "a call does not try again what failed");
    assert_eq!(load(&repository, "fails", "").expect_err("still").message, torn.1);
    assert_eq!(events("fails"), ["load 1", "load 1"]);
    assert_eq!(refusal(ask(&repository, "panics", "")).0, Reason::Internal);
    let (_, message) = refusal(ask(&repository, "cold", ""));
    assert_eq!(message, "Warm-up failed: It cannot compute.");
    assert_eq!(events("cold"), ["load 1", "infer 1", "stop 1", "drop 1"]);
    folder.write("fails/model.json", SIMPLE);
    load(&repository, "fails", "").expect("loads");
    assert_eq!(ask(&repository, "fails", ""), Ok(1));
}

#[test]
fn a_model_is_warm_before_it_answers() {
    let folder = Folder::new();
    folder.write("warm/model.json", r#"{"backend": "scripted", "warm_up": {"calls": 3}}"#);
    let repository = folder.open();
    drop(repository.find(&CallContext::default(), "warm", "").expect("answers"));
    assert_eq!(events("warm"), ["load 1", "infer 1", "infer 1", "infer 1"]);
}

#[test]
fn files_must_be_there_and_be_what_the_manifest_says() {
    let folder = Folder::new();
    let manifest = |file: &str| format!(r#"{{"backend": "scripted", "files": {{"weights": {file}}}}}"#);
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let checked = |hash: &str| manifest(&format!(r#"{{"path": "cache:m/w.bin", "sha256": "{hash}"}}"#));
    folder.write(".cache/m/w.bin", "abc");
    folder.write("missing/model.json", &manifest(r#""w.bin""#));
    folder.write("escaping/model.json", &manifest(r#""../missing/model.json""#));
    folder.write("right/model.json", &checked(&abc.to_uppercase()));
    folder.write("wrong/model.json", &checked(&"0".repeat(64)));
    folder.write("overridden/model.json", &manifest(r#""nowhere.bin""#));
    folder.write("overridden/3/version.json", r#"{"files": {"weights": "w.bin"}, "settings": {"answer": 33}}"#);
    folder.write("overridden/3/w.bin", "");
    folder.write("torn/model.json", SIMPLE).write("torn/1/version.json", r#"{"weights": "w.bin"}"#);
    let repository = folder.open();
    assert_eq!(ask(&repository, "right", ""), Ok(1));
    assert_eq!(ask(&repository, "overridden", ""), Ok(33));
    for (name, part) in [
        ("missing", "The file \"weights\" of \"missing\" (\"w.bin\") cannot be read: "),
        ("escaping", "leaves its folder"),
        ("wrong", abc),
        ("torn", "version.json of \"torn\" is at fault: unknown field `weights`"),
    ] {
        let (reason, message) = refusal(ask(&repository, name, ""));
        assert!(reason == Reason::ModelNotReady && message.contains(part), "{name}: {message}");
    }
}

fn train(
    repository: &Arc<Repository>,
    name: &str,
    backend: &str,
    algorithm: &str,
) -> Result<String, engine_core::EngineError> {
    let request = TrainModelRequest {
        model: name.into(),
        backend: backend.into(),
        algorithm: algorithm.into(),
        ..TrainModelRequest::default()
    };
    let response = repository.train(&CallContext::default(), &request, &[])?;
    assert_eq!(response.metrics.get("loss"), Some(&0.5));
    // Another training may have brought a newer version meanwhile, so that this one does not answer any more.
    Ok(response.model.expect("a model").version)
}

#[test]
fn a_trained_model_is_a_version_that_answers_also_after_a_restart() {
    let folder = Folder::new();
    let repository = folder.open();
    assert_eq!(train(&repository, "made", "scripted", ""), Ok("1".to_owned()));
    assert_eq!(ask(&repository, "made", ""), Ok(42));
    assert_eq!(train(&repository, "made", "scripted", ""), Ok("2".to_owned()));
    eventually("the first version is retired", || states(&repository, "made").len() == 1);
    drop(repository);
    let repository = folder.open();
    assert_eq!(ask(&repository, "made", ""), Ok(42));
    assert_eq!(repository.list()[0].versions, ["2", "1"]);
    assert_eq!(std::fs::read_dir(folder.0.join(".training")).expect("a folder").count(), 0);
}

#[test]
fn a_training_that_fails_leaves_nothing_behind() {
    let folder = Folder::new();
    folder.write("other/model.json", r#"{"backend": "onnx"}"#);
    let repository = folder.open();
    let failure =
        |name: &str, backend: &str, algorithm: &str| train(&repository, name, backend, algorithm).expect_err("fails");
    assert_eq!(failure("made", "scripted", "panic").reason, Reason::Internal);
    assert_eq!(failure("made", "unheard-of", "").parameter.as_deref(), Some("backend"));
    assert_eq!(failure("other", "scripted", "").message, "The model \"other\" is one of the backend \"onnx\".");
    assert_eq!(failure("../made", "scripted", "").parameter.as_deref(), Some("model"));
    assert!(!folder.0.join("made").exists());
    assert_eq!(std::fs::read_dir(folder.0.join(".training")).expect("a folder").count(), 0);
}

#[test]
fn trainings_at_the_same_time_get_versions_of_their_own() {
    let folder = Folder::new();
    let repositories = [folder.open(), folder.open()];
    let mut versions: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12)
            .map(|index| {
                scope.spawn({
                    let repository = &repositories[index % 2];
                    move || train(repository, "crowd", "scripted", "")
                })
            })
            .collect();
        let versions = threads.into_iter().map(|thread| thread.join().expect("no panic").expect("trains"));
        versions.map(|version| version.parse().expect("a number")).collect()
    });
    versions.sort_unstable();
    assert_eq!(versions, (1..=12).collect::<Vec<_>>());
}

#[test]
fn a_stopped_repository_has_ended_every_model() {
    let folder = Folder::new();
    folder.write("end/model.json", r#"{"backend": "scripted", "settings": {"bytes": 65536}}"#);
    let repository = folder.open();
    ask(&repository, "end", "").expect("answers");
    repository.stop();
    assert_eq!((memory(&repository), events("end").last().map(String::as_str)), (0, Some("drop 1")));
    assert_eq!(refusal(ask(&repository, "end", "")).0, Reason::Unavailable);
}

#[test]
fn calls_loads_and_unloads_in_any_order_never_meet_a_stopped_model() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_nanos() as u64;
    println!("seed {seed}");
    let folder = Folder::new();
    folder.write("busy/model.json", r#"{"backend": "scripted", "versions": "all", "settings": {"load_ms": 1}}"#);
    for version in 1..=3 {
        folder.write(&format!("busy/{version}/note.txt"), "");
    }
    let repository = folder.open();
    let work = |thread: u64| {
        let mut state = seed ^ (thread + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut answered = 0;
        for _ in 0..400 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let version = ["", "1", "2", "3"][(state >> 8) as usize % 4];
            match state % 16 {
                0 => drop(load(&repository, "busy", version)),
                1 => drop(unload(&repository, "busy", version)),
                2 => drop(repository.list()),
                _ => match ask(&repository, "busy", version) {
                    Ok(answer) => {
                        assert!(version.is_empty() || version == answer.to_string());
                        answered += 1;
                    }
                    Err(error) => assert_eq!(error.reason, Reason::ModelNotReady, "{error}"),
                },
            }
        }
        answered
    };
    let work = &work;
    let answered: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    println!("{answered} answered");
    unload(&repository, "busy", "").expect("unloads");
    assert_eq!(memory(&repository), 0);
    let events = events("busy");
    let count = |what: &str| events.iter().filter(|event| event.starts_with(what)).count();
    assert!(answered > 0);
    assert_eq!((count("load"), count("load")), (count("stop"), count("drop")), "each load is undone once");
}
