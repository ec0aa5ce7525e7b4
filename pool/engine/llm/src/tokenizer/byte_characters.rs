//! The printable characters by which GPT-2's vocabulary writes bytes: a byte that is a visible character of Latin-1 stands
//! for itself, and the others, in order, are characters from U+0100 on (Radford et al. 2019, "Language Models are
//! Unsupervised Multitask Learners", section 2.2).

/// Whether `byte` stands for itself.
fn is_visible(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The character of each byte.
pub fn characters() -> [char; 256] {
    let mut hidden = 0_u32;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if is_visible(byte) {
            return char::from(byte);
        }
        hidden += 1;
        char::from_u32(0xFF + hidden).unwrap_or(char::REPLACEMENT_CHARACTER)
    })
}

/// The bytes that `text` writes, or none where a character of it stands for no byte.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    text.chars().map(byte_of).collect()
}

fn byte_of(character: char) -> Option<u8> {
    const HIDDEN_FIRST: u32 = 0x100;
    let code = u32::from(character);
    if let Ok(byte) = u8::try_from(code) {
        return is_visible(byte).then_some(byte);
    }
    (0..=u8::MAX).filter(|byte| !is_visible(*byte)).nth((code - HIDDEN_FIRST) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character_and_comes_back() {
        let characters = characters();
        for byte in 0..=u8::MAX {
            let character = characters[usize::from(byte)];
            assert_eq!(decode(&character.to_string()), Some(vec![byte]), "{character:?}");
        }
        assert_eq!(characters[usize::from(b' ')], 'Ġ');
        assert_eq!(characters[usize::from(b'\n')], 'Ċ');
    }

    #[test]
    fn a_character_that_stands_for_no_byte_is_refused() {
        assert_eq!(decode("日"), None);
        assert_eq!(decode(" "), None);
    }
}
