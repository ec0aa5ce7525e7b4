//! A step that is no larger than one before it allocates no memory, on any of its threads.

#[path = "../src/gguf/writer.rs"]
mod writer;

use llm::StepSequence;
use llm::cpu::{CpuOptions, open};
use llm::gguf::{ElementType, Gguf};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use writer::Writer;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: all is left to the system's allocator; only a number is counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WIDTH: u64 = 64;

/// A model of one layer whose weights are all zero.
fn file() -> Vec<u8> {
    let mut writer = Writer::default();
    writer.text("general.architecture", "llama");
    for (key, value) in [
        ("block_count", 1),
        ("context_length", 64),
        ("embedding_length", 64),
        ("feed_forward_length", 96),
        ("attention.head_count", 2),
    ] {
        writer.integer(&format!("llama.{key}"), value);
    }
    writer.float("llama.attention.layer_norm_rms_epsilon", 1e-5);
    let mut zeros = |name: &str, element_type: ElementType, lengths: &[u64]| {
        let blocks = lengths.iter().product::<u64>() as usize / element_type.block_elements();
        writer.tensor(name, element_type, lengths, &vec![0; blocks * element_type.block_bytes()]);
    };
    zeros("token_embd.weight", ElementType::Q8_0, &[WIDTH, 50]);
    for name in ["attn_q", "attn_k", "attn_v", "attn_output"] {
        zeros(&format!("blk.0.{name}.weight"), ElementType::Q4_1, &[WIDTH, WIDTH]);
    }
    zeros("blk.0.ffn_gate.weight", ElementType::Q4_1, &[WIDTH, 96]);
    zeros("blk.0.ffn_up.weight", ElementType::Q4_1, &[WIDTH, 96]);
    zeros("blk.0.ffn_down.weight", ElementType::Q4_1, &[96, WIDTH]);
    for name in ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"] {
        zeros(name, ElementType::F32, &[WIDTH]);
    }
    writer.finish()
}

#[test]
fn a_step_no_larger_than_one_before_allocates_nothing() {
    let options = CpuOptions { threads: 2, cache_bytes: 1 << 20, step_tokens_max: 64, ..Default::default() };
    let mut decoder = open(&Gguf::from_bytes(file()).unwrap(), &options).unwrap();
    let (tokens, mut logits) = ([1; 40], Vec::new());
    let prompt = StepSequence { tokens: &tokens, position: 0, blocks: &[0, 1], wants_logits: true };
    let other = StepSequence { tokens: &tokens[..3], blocks: &[2], ..prompt };
    decoder.step(&[prompt, other], &mut logits).unwrap();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for position in 40..60 {
        let next = StepSequence { tokens: &[2], position, ..prompt };
        decoder.step(&[next, other], &mut logits).unwrap();
        decoder.step(&[other], &mut logits).unwrap();
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    assert_eq!(logits.len(), 50);
}
