//! What holds of the decoder as a whole.

use super::example::{CONTEXT, Random, Twin, VOCABULARY, file};
use super::*;
use crate::gguf::ElementType;
use crate::gguf::writer::Writer;
use crate::{Decoder, StepSequence};

const TYPES: [ElementType; 8] = [
    ElementType::F32,
    ElementType::F16,
    ElementType::Bf16,
    ElementType::Q4_0,
    ElementType::Q4_1,
    ElementType::Q5_0,
    ElementType::Q5_1,
    ElementType::Q8_0,
];

fn options() -> CpuOptions {
    CpuOptions { cache_bytes: 1 << 20, block_tokens: 16, step_tokens_max: 64, ..Default::default() }
}

fn decoder(file: &[u8], options: &CpuOptions) -> Box<dyn Decoder> {
    open(&Gguf::from_bytes(file.to_vec()).unwrap(), options).unwrap()
}

fn tokens(count: usize, seed: u64) -> Vec<u32> {
    let mut random = Random(seed);
    (0..count).map(|_| u32::from(random.byte()) % VOCABULARY as u32).collect()
}

/// Logits after the last token, computed in chunks of `chunk`.
fn logits(decoder: &mut dyn Decoder, tokens: &[u32], chunk: usize, blocks: &[u32]) -> Vec<f32> {
    let mut logits = Vec::new();
    for (index, tokens) in tokens.chunks(chunk).enumerate() {
        let part = StepSequence { tokens, position: index * chunk, blocks, wants_logits: true };
        decoder.step(&[part], &mut logits).unwrap();
    }
    logits
}

/// Root of the mean square of the difference, relative to the twin's.
fn difference(found: &[f32], expected: &[f64]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let apart = squares(&mut found.iter().zip(expected).map(|(&found, expected)| f64::from(found) - expected));
    (apart / squares(&mut expected.iter().copied())).sqrt()
}

#[test]
fn each_type_of_weights_on_each_path_agrees_with_the_twin_in_floats() {
    for element_type in TYPES {
        let file = file(element_type, 7);
        let tokens = tokens(41, 8);
        let expected = Twin::new(file.clone()).logits(&tokens).pop().unwrap();
        for instructions in available_instructions() {
            let options = CpuOptions { instructions: Some(instructions), ..options() };
            let found = logits(&mut *decoder(&file, &options), &tokens, 41, &[3, 0, 7]);
            let difference = difference(&found, &expected);
            // What rounding to eight bits leaves after two layers; with weights in floats, only the logits' product has it.
            let is_float = matches!(element_type, ElementType::F32 | ElementType::F16 | ElementType::Bf16);
            let bound = if is_float { 0.01 } else { 0.1 };
            assert!(difference < bound, "{element_type:?} {instructions:?}: {difference}");
        }
    }
}

#[test]
fn the_paths_agree_with_each_other_to_float_rounding_until_a_value_is_rounded_the_other_way() {
    let file = file(ElementType::Q4_1, 9);
    let tokens = tokens(1, 10);
    let portable = CpuOptions { instructions: Some(Instructions::Portable), ..options() };
    let expected = logits(&mut *decoder(&file, &portable), &tokens, 1, &[0]);
    let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
    for instructions in available_instructions() {
        let options = CpuOptions { instructions: Some(instructions), ..options() };
        let found = logits(&mut *decoder(&file, &options), &tokens, 1, &[0]);
        assert!(difference(&found, &expected) < 5e-3, "{instructions:?}");
    }
}

#[test]
fn chunks_threads_and_block_numbers_change_no_bit() {
    let file = file(ElementType::Q4_1, 11);
    let tokens = tokens(61, 12);
    for instructions in available_instructions() {
        let options = CpuOptions { instructions: Some(instructions), ..options() };
        let expected = logits(&mut *decoder(&file, &options), &tokens, 61, &[0, 1, 2, 3]);
        for (threads, chunk, blocks) in
            [(1, 1, [5, 2, 9, 1]), (2, 7, [3, 2, 1, 0]), (3, 16, [8, 0, 4, 6]), (2, 33, [0, 1, 2, 3])]
        {
            let options = CpuOptions { threads, ..options.clone() };
            let found = logits(&mut *decoder(&file, &options), &tokens, chunk, &blocks);
            assert!(found == expected, "{instructions:?}, {threads} threads, chunks of {chunk}");
        }
    }
}

#[test]
fn what_else_is_in_a_step_changes_no_bit_of_a_sequence() {
    let file = file(ElementType::Q4_1, 13);
    for instructions in available_instructions() {
        let options = CpuOptions { instructions: Some(instructions), threads: 2, ..options() };
        let mut decoder = decoder(&file, &options);
        let prompts: Vec<Vec<u32>> = (0..11).map(|index| tokens(1 + 3 * index % 20, index as u64)).collect();
        let blocks: Vec<[u32; 2]> = (0..11).map(|index| [2 * index, 2 * index + 1]).collect();
        let alone: Vec<Vec<f32>> =
            prompts.iter().zip(&blocks).map(|(prompt, blocks)| logits(&mut *decoder, prompt, 64, blocks)).collect();
        for count in 1..=11 {
            // Their prompts but for the last token first, then the last tokens together, some beside a whole prompt.
            let parts: Vec<StepSequence<'_>> = (0..count)
                .filter(|index| prompts.iter().take(*index).map(Vec::len).sum::<usize>() < 40)
                .map(|index| StepSequence {
                    tokens: if index % 3 == 0 { &prompts[index] } else { &prompts[index][prompts[index].len() - 1..] },
                    position: if index % 3 == 0 { 0 } else { prompts[index].len() - 1 },
                    blocks: &blocks[index],
                    wants_logits: index % 4 != 1,
                })
                .collect();
            let mut found = Vec::new();
            decoder.step(&parts, &mut found).unwrap();
            let wanted = (0..parts.len()).filter(|index| index % 4 != 1);
            for (row, index) in found.chunks_exact(VOCABULARY).zip(wanted) {
                assert!(row == alone[index], "{instructions:?}, sequence {index} among {}", parts.len());
            }
        }
    }
}

#[test]
fn a_prefix_in_blocks_of_another_sequence_is_as_good_as_its_own() {
    let file = file(ElementType::Q8_0, 15);
    let mut decoder = decoder(&file, &options());
    let tokens = tokens(40, 16);
    let expected = logits(&mut *decoder, &tokens, 40, &[0, 1, 2]);
    let mut found = Vec::new();
    let rest = StepSequence { tokens: &tokens[32..], position: 32, blocks: &[0, 1, 9], wants_logits: true };
    decoder.step(&[rest], &mut found).unwrap();
    assert!(found == expected);
}

#[test]
fn steps_that_do_not_fit_are_refused_and_change_nothing() {
    let file = file(ElementType::Q4_0, 17);
    let mut decoder = decoder(&file, &options());
    let expected = logits(&mut *decoder, &[5, 6, 7], 3, &[0]);
    let blocks = decoder.shape().blocks as u32;
    let long = vec![1; 65];
    let cases: [(&[u32], usize, &[u32], &str); 6] = [
        (&[], 0, &[0], "Tokens up to position 0"),
        (&[1], CONTEXT, &[0; 16], "with a context of 128"),
        (&[1], usize::MAX, &[0; 16], "with a context of 128"),
        (&[1], 16, &[0], "1 blocks do not hold 17 tokens"),
        (&[1], 0, &[blocks], "Block "),
        (&[VOCABULARY as u32], 0, &[0], "The vocabulary has no token 203"),
    ];
    for (tokens, position, blocks, message) in cases {
        let part = StepSequence { tokens, position, blocks, wants_logits: true };
        let error = decoder.step(&[part], &mut Vec::new()).unwrap_err();
        assert!(error.message.contains(message), "{error}");
    }
    let part = StepSequence { tokens: &long, position: 0, blocks: &[1, 2, 3, 4, 5], wants_logits: false };
    assert!(
        decoder.step(&[part], &mut Vec::new()).unwrap_err().message.contains("A step of 65 tokens; 64 are the most")
    );
    assert!(logits(&mut *decoder, &[5, 6, 7], 3, &[0]) == expected);
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let file = Gguf::from_bytes(file(ElementType::Q4_0, 19)).unwrap();
    let cases = [
        ("threads", CpuOptions { threads: 0, ..options() }),
        ("threads", CpuOptions { threads: 257, ..options() }),
        ("block_tokens", CpuOptions { block_tokens: 24, ..options() }),
        ("block_tokens", CpuOptions { block_tokens: 0, ..options() }),
        ("step_tokens_max", CpuOptions { step_tokens_max: 0, ..options() }),
        ("cache_bytes", CpuOptions { cache_bytes: 100, ..options() }),
    ];
    for (name, options) in cases {
        let error = open(&file, &options).err().unwrap();
        assert!(error.message.contains(name), "{error}");
    }
}

#[test]
fn files_of_other_models_are_refused_with_what_is_wrong() {
    let other = Writer::default().text("general.architecture", "gemma").finish();
    let error = open(&Gguf::from_bytes(other).unwrap(), &options()).err().unwrap();
    assert!(error.message.contains("\"gemma\""), "{error}");

    let whole = file(ElementType::Q4_0, 21);
    let renamed = |from: &str, to: &str| {
        let position = whole.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut file = whole.clone();
        file[position..position + to.len()].copy_from_slice(to.as_bytes());
        open(&Gguf::from_bytes(file).unwrap(), &options()).err().unwrap().message
    };
    assert!(renamed("blk.1.attn_q", "blk.1.attn_z").contains("no tensor \"blk.1.attn_q.weight\""));
    assert!(renamed("llama.block_count", "llama.bl0ck_count").contains("no \"llama.block_count\""));
    // An optional key: what it says is then a guess from other lengths, which does not fit the tensors.
    assert!(renamed("llama.attention.key_length", "llama.attention.key_lengtH").contains("lengths that do not fit"));
}

#[test]
fn a_model_with_any_byte_of_its_header_changed_opens_or_is_refused() {
    let whole = file(ElementType::Q4_0, 23);
    let header = whole.len()
        - Gguf::from_bytes(whole.clone()).unwrap().tensors().map(|(_, place)| place.bytes.len()).sum::<usize>();
    let (mut random, mut opened) = (Random(24), 0);
    for position in (0..header).step_by(3) {
        let mut damaged = whole.clone();
        damaged[position] ^= 1 << (random.byte() % 8);
        let Ok(file) = Gguf::from_bytes(damaged) else { continue };
        if let Ok(mut decoder) = open(&file, &options()) {
            let part = StepSequence { tokens: &[1, 2], position: 0, blocks: &[0], wants_logits: true };
            decoder.step(&[part], &mut Vec::new()).unwrap();
            opened += 1;
        }
    }
    assert!(opened > 0);
}

#[test]
fn memory_is_counted() {
    let file = file(ElementType::Q4_1, 25);
    let mut decoder = decoder(&file, &options());
    let shape = decoder.shape().clone();
    assert!(shape.memory_bytes > (file.len() + (1 << 20) - shape.blocks) as u64);
    assert_eq!((shape.vocabulary_size, shape.context_length, shape.block_tokens), (VOCABULARY, CONTEXT, 16));
    assert_eq!(logits(&mut *decoder, &[1], 1, &[shape.blocks as u32 - 1]).len(), VOCABULARY);
}
