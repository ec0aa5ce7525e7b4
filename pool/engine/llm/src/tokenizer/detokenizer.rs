//! Tokens' bytes to text as they come: a character is given once all its bytes are there.

/// Holds back the bytes of a character that is not whole yet, at most three.
#[derive(Debug, Default, Clone)]
pub struct Detokenizer {
    pending: Vec<u8>,
}

impl Detokenizer {
    /// Appends to `text` the characters that `bytes` complete. Bytes that can be no character become U+FFFD, as Unicode
    /// 3.9 recommends ("substitution of maximal subparts").
    pub fn push(&mut self, bytes: &[u8], text: &mut String) {
        self.pending.extend_from_slice(bytes);
        let mut consumed = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            consumed += chunk.valid().len();
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            if consumed + invalid.len() == self.pending.len() && is_start(invalid) {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            consumed += invalid.len();
        }
        self.pending.drain(..consumed);
    }

    /// Appends U+FFFD to `text` where a character was begun and never completed.
    pub fn finish(&mut self, text: &mut String) {
        if !self.pending.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            self.pending.clear();
        }
    }
}

/// Whether `bytes` could be the start of a character.
fn is_start(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|fault| fault.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn characters_come_whole_however_their_bytes_are_cut() {
        let seed = 11;
        println!("seed {seed}");
        let mut random = Random::new(seed, 0);
        let sample = "aé日本🦀\u{10FFFF}e\u{301}\0".repeat(20);
        for _ in 0..200 {
            let mut detokenizer = Detokenizer::default();
            let (mut rest, mut text) = (sample.as_bytes(), String::new());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(random.below(6) as usize));
                detokenizer.push(piece, &mut text);
                assert!(sample.starts_with(&text));
                rest = after;
            }
            detokenizer.finish(&mut text);
            assert_eq!(text, sample);
        }
    }

    #[test]
    fn any_bytes_give_what_the_standard_library_gives() {
        let seed = 12;
        println!("seed {seed}");
        let mut random = Random::new(seed, 0);
        for _ in 0..2_000 {
            let bytes: Vec<u8> = (0..random.below(24))
                .map(|_| [0x41, 0xC3, 0xA9, 0xE2, 0x82, 0xF0, 0x9F, 0xFF, 0x80][random.below(9) as usize])
                .collect();
            let (mut detokenizer, mut text) = (Detokenizer::default(), String::new());
            for byte in &bytes {
                detokenizer.push(&[*byte], &mut text);
            }
            detokenizer.finish(&mut text);
            assert_eq!(text, String::from_utf8_lossy(&bytes), "{bytes:x?}");
        }
    }
}
