//! Memory is given back after an unload. Alone in its process, since it looks at the whole process's memory.

mod support;

use engine_core::CallContext;
use support::*;

/// What the model holds.
const BYTES: u64 = 32 << 20;
/// What may be left of a hundred of them: the allocator's own slack.
const GROWTH_MAX: u64 = 8 << 20;
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("resident memory");
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).expect("a number") << 10
}

#[test]
fn a_hundred_loads_and_unloads_leave_no_memory_behind() {
    let folder = Folder::new();
    folder.write("heavy/model.json", &format!(r#"{{"backend": "scripted", "settings": {{"bytes": {BYTES}}}}}"#));
    let repository = folder.open();
    let call = CallContext::default();
    let round = || {
        repository.load(&call, "heavy", "").expect("loads");
        assert_eq!(ask(&repository, "heavy", ""), Ok(1));
        let loaded = resident_bytes();
        repository.unload(&call, "heavy", "").expect("unloads");
        loaded
    };
    // After this, the allocator of glibc by itself would keep up to 60 MB at the end of each thread's heap.
    drop(std::hint::black_box(vec![1_u8; 30 << 20]));
    let before = resident_bytes();
    let least = (0..100).map(|_| round()).min().unwrap_or(0);
    let after = resident_bytes();
    println!("resident bytes: {before} before, {least} at least while loaded, {after} after 100 rounds");
    assert!(least >= BYTES, "the model was really held");
    assert!(after < before + GROWTH_MAX, "{before} grew to {after}");
}
