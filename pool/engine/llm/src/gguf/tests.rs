use super::writer::Writer;
use super::*;

fn example() -> Vec<u8> {
    Writer::default()
        .text("general.architecture", "llama")
        .integer("llama.block_count", 30)
        .float("llama.rope.freq_base", 1e5)
        .texts("tokenizer.ggml.tokens", &["a", "ü", ""])
        .tensor("first", ElementType::F32, &[2, 1], &[1, 2, 3, 4, 5, 6, 7, 8])
        .tensor("second", ElementType::Q8_0, &[32, 2], &[9; 68])
        .finish()
}

#[test]
fn metadata_and_tensors_are_read_as_they_were_written() {
    let file = Gguf::from_bytes(example()).unwrap();
    let metadata = file.metadata();
    assert_eq!(metadata.text("general.architecture").unwrap(), "llama");
    assert_eq!(metadata.size("llama.block_count").unwrap(), 30);
    assert_eq!(metadata.number("llama.rope.freq_base").unwrap(), 1e5);
    assert_eq!(metadata.texts("tokenizer.ggml.tokens").unwrap(), ["a", "ü", ""]);
    assert_eq!(metadata.optional_flag("missing").unwrap(), None);
    assert_eq!(file.tensor("first").unwrap().data, [1, 2, 3, 4, 5, 6, 7, 8]);
    let second = file.tensor("second").unwrap();
    assert_eq!((second.place.dimensions.as_slice(), second.data), ([32, 2].as_slice(), [9; 68].as_slice()));
}

#[test]
fn a_missing_key_and_a_value_of_another_kind_are_told_apart() {
    let file = Gguf::from_bytes(example()).unwrap();
    let missing = file.metadata().size("llama.context_length").unwrap_err();
    assert!(missing.message.contains("has no \"llama.context_length\""), "{missing}");
    let other = file.metadata().optional_size("general.architecture").unwrap_err();
    assert!(other.message.contains("but not as a whole number"), "{other}");
    assert!(file.tensor("third").unwrap_err().message.contains("no tensor \"third\""));
}

#[test]
fn a_file_cut_at_any_byte_is_an_error() {
    let whole = example();
    // The last tensor ends before the padding does.
    let data_end = Gguf::from_bytes(whole.clone()).unwrap().tensor("second").unwrap().place.bytes.end;
    for length in 0..data_end {
        assert!(Gguf::from_bytes(whole[..length].to_vec()).is_err(), "cut to {length} bytes");
    }
}

#[test]
fn a_file_with_any_bit_flipped_is_read_or_refused_without_panic() {
    let whole = example();
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(file) = Gguf::from_bytes(damaged) {
            for (name, place) in file.tensors() {
                assert_eq!(file.tensor(name).unwrap().data.len(), place.bytes.len());
            }
        }
    }
}

#[test]
fn counts_larger_than_the_file_are_refused_before_anything_is_allocated() {
    let whole = example();
    for (position, what) in [(8, "tensors"), (16, "entries of metadata")] {
        let mut damaged = whole.clone();
        damaged[position..position + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        let error = Gguf::from_bytes(damaged).unwrap_err();
        assert!(error.message.contains(what), "{error}");
    }
}

#[test]
fn a_tensor_whose_size_overflows_is_refused() {
    let file = Writer::default().tensor("huge", ElementType::F32, &[1 << 62, 1 << 62], &[]).finish();
    assert!(Gguf::from_bytes(file).unwrap_err().message.contains("ends before its tensor \"huge\""));
}
