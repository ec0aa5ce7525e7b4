//! A small model of every type of weights against the kernels of the crate `llm`, which read the same numbers as floats.

#[path = "../../../llm/src/gguf/writer.rs"]
mod writer;

use super::{CandleOptions, open};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use engine_core::Reason;
use llm::cpu::CpuOptions;
use llm::gguf::{ElementType, Gguf};
use llm::random::Random;
use llm::{Decoder, StepSequence};
use writer::Writer;

const LAYERS: usize = 2;
const WIDTH: usize = 256;
const HEADS: usize = 8;
const KEY_HEADS: usize = 2;
const HEAD_WIDTH: usize = 32;
const HIDDEN: usize = 512;
const VOCABULARY: usize = 208;
const CONTEXT: usize = 256;
const BLOCK_TOKENS: usize = 16;

/// A type, and how far logits may be from those of floats: rows of activations are rounded to 8 bits, one scale for 32 of
/// them or, for K-quants, for 256; the other side keeps keys and values in 16 bits. Relative to the largest logit.
const TYPES: [(ElementType, GgmlDType, f32); 13] = [
    (ElementType::F32, GgmlDType::F32, 3e-3),
    (ElementType::F16, GgmlDType::F16, 3e-3),
    (ElementType::Bf16, GgmlDType::BF16, 3e-3),
    (ElementType::Q4_0, GgmlDType::Q4_0, 0.1),
    (ElementType::Q4_1, GgmlDType::Q4_1, 0.1),
    (ElementType::Q5_0, GgmlDType::Q5_0, 0.1),
    (ElementType::Q5_1, GgmlDType::Q5_1, 0.1),
    (ElementType::Q8_0, GgmlDType::Q8_0, 0.1),
    (ElementType::Q2K, GgmlDType::Q2K, 0.1),
    (ElementType::Q3K, GgmlDType::Q3K, 0.1),
    (ElementType::Q4K, GgmlDType::Q4K, 0.1),
    (ElementType::Q5K, GgmlDType::Q5K, 0.1),
    (ElementType::Q6K, GgmlDType::Q6K, 0.1),
];

/// Two files of one model: its matrices of that type, and the same numbers as floats.
struct Files {
    stored: Writer,
    floats: Writer,
}

impl Files {
    fn matrix(
        &mut self,
        name: &str,
        (element_type, candle_type): (ElementType, GgmlDType),
        lengths: [usize; 2],
        random: &mut Random,
    ) {
        let [columns, rows] = lengths;
        let spread = 2.0 / (columns as f32).sqrt();
        let values: Vec<f32> = (0..columns * rows).map(|_| (random.unit() as f32 * 2.0 - 1.0) * spread).collect();
        let values = Tensor::from_vec(values, (rows, columns), &Device::Cpu).expect("a tensor");
        let stored = QTensor::quantize(&values, candle_type).expect("quantised");
        let floats =
            stored.dequantize(&Device::Cpu).and_then(|floats| floats.flatten_all()?.to_vec1()).expect("floats");
        let dimensions = [columns as u64, rows as u64];
        self.stored.tensor(name, element_type, &dimensions, &stored.data().expect("bytes"));
        self.floats.tensor(name, ElementType::F32, &dimensions, &bytes(&floats));
    }

    fn both(&mut self, write: impl Fn(&mut Writer)) {
        write(&mut self.stored);
        write(&mut self.floats);
    }
}

fn bytes(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn files(kind: (ElementType, GgmlDType), seed: u64) -> (Vec<u8>, Vec<u8>) {
    let (random, mut files) =
        (&mut Random::new(seed, 0), Files { stored: Writer::default(), floats: Writer::default() });
    files.both(|writer| {
        writer
            .text("general.architecture", "llama")
            .integer("llama.block_count", LAYERS as u32)
            .integer("llama.context_length", CONTEXT as u32)
            .integer("llama.embedding_length", WIDTH as u32)
            .integer("llama.feed_forward_length", HIDDEN as u32)
            .integer("llama.attention.head_count", HEADS as u32)
            .integer("llama.attention.head_count_kv", KEY_HEADS as u32)
            .integer("llama.rope.dimension_count", HEAD_WIDTH as u32)
            .float("llama.attention.layer_norm_rms_epsilon", 1e-5)
            .float("llama.rope.freq_base", 1e4);
    });
    let norm: Vec<f32> = (0..WIDTH).map(|index| 1.0 + index as f32 / 500.0).collect();
    let norm = bytes(&norm);
    files.matrix("token_embd.weight", kind, [WIDTH, VOCABULARY], random);
    for layer in 0..LAYERS {
        for (part, columns, rows) in [
            ("attn_q", WIDTH, HEADS * HEAD_WIDTH),
            ("attn_k", WIDTH, KEY_HEADS * HEAD_WIDTH),
            ("attn_v", WIDTH, KEY_HEADS * HEAD_WIDTH),
            ("attn_output", HEADS * HEAD_WIDTH, WIDTH),
            ("ffn_gate", WIDTH, HIDDEN),
            ("ffn_up", WIDTH, HIDDEN),
            ("ffn_down", HIDDEN, WIDTH),
        ] {
            files.matrix(&format!("blk.{layer}.{part}.weight"), kind, [columns, rows], random);
        }
        for part in ["attn_norm", "ffn_norm"] {
            let name = format!("blk.{layer}.{part}.weight");
            files.both(|writer| {
                writer.tensor(&name, ElementType::F32, &[WIDTH as u64], &norm);
            });
        }
    }
    files.both(|writer| {
        writer.tensor("output_norm.weight", ElementType::F32, &[WIDTH as u64], &norm);
    });
    (files.stored.finish(), files.floats.finish())
}

fn options() -> CandleOptions {
    CandleOptions { cache_bytes: 4 << 20, block_tokens: BLOCK_TOKENS, step_tokens_max: 200, ..Default::default() }
}

fn candle(file: Vec<u8>) -> Box<dyn Decoder> {
    open(&Gguf::from_bytes(file).expect("a file"), &options()).expect("opened")
}

fn native(file: Vec<u8>) -> Box<dyn Decoder> {
    let options = CpuOptions { block_tokens: BLOCK_TOKENS, cache_bytes: 4 << 20, ..Default::default() };
    llm::cpu::open(&Gguf::from_bytes(file).expect("a file"), &options).expect("opened")
}

fn tokens(count: usize, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed, 1);
    (0..count).map(|_| (random.unit() * VOCABULARY as f64) as u32).collect()
}

/// Logits after the last of `tokens`, which stand from `position` on in `blocks`.
fn logits(decoder: &mut dyn Decoder, tokens: &[u32], position: usize, blocks: &[u32]) -> Vec<f32> {
    let mut logits = Vec::new();
    decoder.step(&[StepSequence { tokens, position, blocks, wants_logits: true }], &mut logits).expect("a step");
    assert_eq!(logits.len(), VOCABULARY);
    logits
}

/// The largest difference, relative to the largest logit.
fn apart(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    let most = right.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max) / most
}

#[test]
fn every_type_of_weights_gives_what_its_numbers_give_as_floats() {
    for (seed, (element_type, candle_type, bound)) in (1..).zip(TYPES) {
        let (stored, floats) = files((element_type, candle_type), seed);
        let (mut candle, mut native) = (candle(stored), native(floats));
        let (tokens, blocks) = (tokens(150, seed), (0..10).collect::<Vec<u32>>());
        let far = apart(&logits(&mut *candle, &tokens, 0, &blocks), &logits(&mut *native, &tokens, 0, &blocks));
        // A token more, by itself: other kernels.
        let next = apart(&logits(&mut *candle, &[7], 150, &blocks), &logits(&mut *native, &[7], 150, &blocks));
        println!("seed {seed}: {element_type:?} {far:.5} {next:.5}");
        assert!(far < bound && next < bound, "{element_type:?}: {far} {next}");
    }
}

#[test]
fn a_prompt_in_chunks_over_scattered_blocks_gives_what_it_gives_at_once() {
    let (stored, _) = files((ElementType::F32, GgmlDType::F32), 21);
    let mut decoder = candle(stored);
    let tokens = tokens(190, 21);
    let whole = logits(&mut *decoder, &tokens, 0, &(20..32).collect::<Vec<u32>>());
    let blocks = [3, 1, 2, 9, 4, 5, 14, 7, 8, 6, 10, 0];
    let mut last = Vec::new();
    for (start, end) in [(0, 1), (1, 50), (50, 51), (51, 67), (67, 189), (189, 190)] {
        last = logits(&mut *decoder, &tokens[start..end], start, &blocks);
    }
    let far = apart(&last, &whole);
    assert!(far < 1e-4, "{far}");
}

#[test]
fn sequences_of_one_step_do_not_see_each_other() {
    for (element_type, candle_type, exact) in [
        (ElementType::F32, GgmlDType::F32, false),
        (ElementType::Q4_0, GgmlDType::Q4_0, true),
        (ElementType::Q4_1, GgmlDType::Q4_1, false),
        (ElementType::Q5_0, GgmlDType::Q5_0, false),
        (ElementType::Q4K, GgmlDType::Q4K, false),
        (ElementType::Q6K, GgmlDType::Q6K, false),
    ] {
        let (stored, _) = files((element_type, candle_type), 31);
        let prompts: Vec<Vec<u32>> =
            [40, 1, 33, 17].iter().zip(31..).map(|(count, seed)| tokens(*count, seed)).collect();
        let blocks: Vec<Vec<u32>> = (0..4).map(|sequence| vec![4 + sequence, 20 - sequence, 24 + sequence]).collect();
        let part = |sequence: usize, wants_logits| StepSequence {
            tokens: &prompts[sequence],
            position: 0,
            blocks: &blocks[sequence],
            wants_logits,
        };
        let (mut together, mut decoder) = (Vec::new(), candle(stored.clone()));
        let step = [part(0, true), part(1, true), part(2, false), part(3, true)];
        decoder.step(&step, &mut together).expect("a step");
        assert_eq!(together.len(), 3 * VOCABULARY);
        let mut alone = candle(stored);
        for (row, sequence) in [0, 1, 3].into_iter().enumerate() {
            let expected = logits(&mut *alone, &prompts[sequence], 0, &blocks[sequence]);
            let found = &together[row * VOCABULARY..(row + 1) * VOCABULARY];
            let far = apart(found, &expected);
            assert!(if exact { found == expected } else { far < 0.05 }, "{element_type:?} {sequence}: {far}");
        }
    }
}

#[test]
fn a_prefix_in_shared_or_copied_blocks_is_as_good_as_computed() {
    let (stored, _) = files((ElementType::Q8_0, GgmlDType::Q8_0), 41);
    let mut decoder = candle(stored);
    let tokens = tokens(60, 41);
    let cold = logits(&mut *decoder, &tokens, 0, &[0, 1, 2, 3]);
    // The first three blocks are full; the rest is computed into another block.
    let shared = logits(&mut *decoder, &tokens[48..], 48, &[0, 1, 2, 30]);
    assert!(apart(&shared, &cold) < 1e-4, "{}", apart(&shared, &cold));
    // Block 2 as it is, and what follows position 44 anew.
    assert!(decoder.copies_blocks());
    decoder.copy_block(2, 25).expect("copied");
    let copied = logits(&mut *decoder, &tokens[44..], 44, &[0, 1, 25, 26]);
    assert!(apart(&copied, &cold) < 1e-4, "{}", apart(&copied, &cold));
    assert_eq!(decoder.copy_block(0, u32::MAX).map_err(|error| error.reason), Err(Reason::Internal));
}

#[test]
fn a_step_that_is_wrong_is_refused_and_harms_nothing() {
    let (stored, _) = files((ElementType::Q4_0, GgmlDType::Q4_0), 51);
    let mut decoder = candle(stored);
    let expected = logits(&mut *decoder, &[1, 2, 3], 0, &[0]);
    let mut kept = Vec::new();
    for (tokens, position, blocks) in [
        (&[1_u32, VOCABULARY as u32][..], 0, &[0_u32][..]),
        (&[1], CONTEXT, &[0]),
        (&[1], 0, &[u32::MAX]),
        (&[1], BLOCK_TOKENS, &[0]),
        (&[], 0, &[0]),
        (&[1; 201], 0, &[0; 13]),
    ] {
        let step = [StepSequence { tokens, position, blocks, wants_logits: true }];
        assert!(decoder.step(&step, &mut kept).is_err(), "{position} {blocks:?}");
    }
    assert_eq!(logits(&mut *decoder, &[1, 2, 3], 0, &[0]), expected);
}

#[test]
fn a_file_with_a_tensor_too_few_too_many_or_of_other_lengths_is_refused_by_name() {
    let open = |change: &dyn Fn(&mut Writer)| {
        let norm = bytes(&[1.0; 32]);
        let mut writer = Writer::default();
        writer.text("general.architecture", "llama").float("llama.attention.layer_norm_rms_epsilon", 1e-5);
        for (key, value) in [
            ("block_count", 1),
            ("context_length", 64),
            ("embedding_length", 32),
            ("feed_forward_length", 32),
            ("attention.head_count", 1),
        ] {
            writer.integer(&format!("llama.{key}"), value);
        }
        for name in [
            "token_embd",
            "blk.0.attn_q",
            "blk.0.attn_k",
            "blk.0.attn_v",
            "blk.0.attn_output",
            "blk.0.ffn_gate",
            "blk.0.ffn_up",
        ] {
            writer.tensor(&format!("{name}.weight"), ElementType::Q8_0, &[32, 32], &[0; 34 * 32]);
        }
        for name in ["blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"] {
            writer.tensor(&format!("{name}.weight"), ElementType::F32, &[32], &norm);
        }
        change(&mut writer);
        let file = Gguf::from_bytes(writer.finish()).expect("a file");
        super::open(&file, &options()).err().map(|error| error.message).unwrap_or_default()
    };
    let down = |writer: &mut Writer, rows: u64| {
        writer.tensor("blk.0.ffn_down.weight", ElementType::Q8_0, &[32, rows], &vec![0; 34 * rows as usize]);
    };
    assert_eq!(open(&|writer| down(writer, 32)), "");
    assert!(open(&|_| {}).contains("no tensor \"blk.0.ffn_down.weight\""));
    assert!(open(&|writer| down(writer, 31)).contains("[32, 31]"));
    let one_more = open(&|writer| {
        down(writer, 32);
        writer.tensor("blk.0.attn_q.bias", ElementType::F32, &[32], &bytes(&[0.0; 32]));
    });
    assert!(one_more.contains("attn_q.bias"), "{one_more}");
}

#[test]
fn options_out_of_range_and_a_cache_without_room_are_refused() {
    let (stored, _) = files((ElementType::Q4_0, GgmlDType::Q4_0), 61);
    let file = Gguf::from_bytes(stored).expect("a file");
    let reason = |change: fn(&mut CandleOptions)| {
        let mut options = options();
        change(&mut options);
        open(&file, &options).err().map(|error| error.reason)
    };
    assert_eq!(reason(|options| options.block_tokens = 0), Some(Reason::InvalidArgument));
    assert_eq!(reason(|options| options.step_tokens_max = 8193), Some(Reason::InvalidArgument));
    assert_eq!(reason(|options| options.cache_bytes = 1000), Some(Reason::MemoryExceeded));
    assert_eq!(reason(|options| options.cache_bytes = u64::MAX), Some(Reason::MemoryExceeded));
    assert_eq!(reason(|options| options.context_length_max = Some(3)), None);
}
