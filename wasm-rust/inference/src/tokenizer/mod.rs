//! BERT's WordPiece tokenizer: the same ids as the reference implementation for every text.
//!
//! A text goes through three steps, in one pass and without an intermediate string: `normalise` lower-cases, strips
//! accents and control characters and finds the words' ends; `vocabulary` cuts each word into the longest known pieces;
//! [`Tokenizer`] adds `[CLS]` and `[SEP]` and stops at the model's length.

mod normalise;
mod tables;
mod vocabulary;

use crate::error::InferenceError;
use normalise::{Fold, fold};
use vocabulary::Vocabulary;

/// A word of more characters than this is unknown as a whole.
const WORD_CHARACTERS_MAX: usize = 100;

/// Tokens with a meaning of their own. In a text they are recognised as they stand, before normalisation.
const SPECIAL_TEXTS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Cuts texts into token ids.
pub struct Tokenizer {
    vocabulary: Vocabulary,
    special: [u32; SPECIAL_TEXTS.len()],
}

/// What became of one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// Tokens that were appended, special ones included.
    pub tokens: usize,
    /// Whether the text had more tokens than fitted.
    pub truncated: bool,
}

/// A word while it is being read, and where its pieces go.
#[derive(Default)]
pub struct Workspace {
    word: Vec<u8>,
    characters: usize,
    marks: Vec<(char, u8)>,
}

/// Says "no more tokens fit"; ends the scan of a text early.
struct Full;

impl Tokenizer {
    /// Reads a vocabulary: one token a line, the line's number is the id.
    pub fn from_vocabulary(text: &str) -> Result<Self, InferenceError> {
        let vocabulary = Vocabulary::parse(text)?;
        let mut special = [0; SPECIAL_TEXTS.len()];
        for (id, text) in special.iter_mut().zip(SPECIAL_TEXTS) {
            *id = vocabulary
                .find_first(text.as_bytes())
                .ok_or(InferenceError::ModelCorrupt("the vocabulary lacks a special token"))?;
        }
        Ok(Self { vocabulary, special })
    }

    /// How many tokens there are; ids are below this.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The id of `[UNK]`, which stands for every word that has no pieces.
    pub fn unknown(&self) -> u32 {
        self.special[1]
    }

    /// The id of `[CLS]`, which opens a sequence.
    pub fn opening(&self) -> u32 {
        self.special[2]
    }

    /// The id of `[SEP]`, which closes a sequence.
    pub fn closing(&self) -> u32 {
        self.special[3]
    }

    /// Appends the ids of `text` between `[CLS]` and `[SEP]`, at most `tokens_max` (at least 2) in all.
    pub fn encode(&self, text: &str, tokens_max: usize, ids: &mut Vec<u32>, work: &mut Workspace) -> Encoded {
        let start = ids.len();
        ids.push(self.opening());
        let truncated = self.encode_plain(text, tokens_max.saturating_sub(2), ids, work).truncated;
        ids.push(self.closing());
        Encoded { tokens: ids.len() - start, truncated }
    }

    /// Appends the ids of `text` alone, at most `tokens_max`. The scan stops soon after the bound is passed.
    pub fn encode_plain(&self, text: &str, tokens_max: usize, ids: &mut Vec<u32>, work: &mut Workspace) -> Encoded {
        let start = ids.len();
        let mut sink = Sink { tokenizer: self, ids, end: start + tokens_max };
        work.clear();
        let truncated = sink.text(text, work).is_err();
        Encoded { tokens: ids.len() - start, truncated }
    }

    /// Appends a caller's ids, with `[CLS]` in front and `[SEP]` behind where they are missing.
    pub fn frame(&self, tokens: &[u32], tokens_max: usize, ids: &mut Vec<u32>) -> Result<Encoded, InferenceError> {
        let vocabulary_size = self.vocabulary_size();
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocabulary_size) {
            return Err(InferenceError::TokenOutOfRange { token, vocabulary_size });
        }
        let body = tokens.strip_prefix(&[self.opening()]).unwrap_or(tokens);
        let body = body.strip_suffix(&[self.closing()]).unwrap_or(body);
        let kept = &body[..body.len().min(tokens_max.saturating_sub(2))];
        ids.push(self.opening());
        ids.extend_from_slice(kept);
        ids.push(self.closing());
        Ok(Encoded { tokens: kept.len() + 2, truncated: kept.len() < body.len() })
    }
}

impl Workspace {
    fn clear(&mut self) {
        self.word.clear();
        self.characters = 0;
        self.marks.clear();
    }

    fn push(&mut self, character: char) {
        self.characters += 1;
        if self.characters <= WORD_CHARACTERS_MAX {
            let mut bytes = [0; 4];
            self.word.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
        }
    }
}

/// Takes a text's characters and gives its ids.
struct Sink<'a> {
    tokenizer: &'a Tokenizer,
    ids: &'a mut Vec<u32>,
    end: usize,
}

impl Sink<'_> {
    fn token(&mut self, id: u32) -> Result<(), Full> {
        if self.ids.len() == self.end {
            return Err(Full);
        }
        self.ids.push(id);
        Ok(())
    }

    fn text(&mut self, text: &str, work: &mut Workspace) -> Result<(), Full> {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            if byte == b'[' {
                at += self.bracket(&text[at..], work)?;
            } else if byte < 0x80 {
                self.ascii(byte, work)?;
                at += 1;
            } else {
                let Some(character) = text[at..].chars().next() else { break };
                self.other(character, work)?;
                at += character.len_utf8();
            }
        }
        self.end_word(work)
    }

    /// A special token, or plain punctuation. Returns the bytes it took.
    fn bracket(&mut self, rest: &str, work: &mut Workspace) -> Result<usize, Full> {
        for (index, special) in SPECIAL_TEXTS.iter().enumerate() {
            if rest.starts_with(special) {
                self.end_word(work)?;
                self.token(self.tokenizer.special[index])?;
                return Ok(special.len());
            }
        }
        self.ascii(b'[', work)?;
        Ok(1)
    }

    fn ascii(&mut self, byte: u8, work: &mut Workspace) -> Result<(), Full> {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => self.letter(byte, work),
            b'A'..=b'Z' => self.letter(byte | 0x20, work),
            b' ' | b'\t' | b'\n' | b'\r' => return self.end_word(work),
            0..=0x1f | 0x7f => {}
            _ => return self.single(byte as char, work),
        }
        Ok(())
    }

    fn letter(&mut self, byte: u8, work: &mut Workspace) {
        flush_marks(work);
        work.characters += 1;
        if work.characters <= WORD_CHARACTERS_MAX {
            work.word.push(byte);
        }
    }

    fn other(&mut self, character: char, work: &mut Workspace) -> Result<(), Full> {
        match fold(character) {
            Fold::Removed => Ok(()),
            Fold::Space => self.end_word(work),
            Fold::Ideograph(form) => self.single(form, work),
            Fold::Hangul(jamo) => {
                jamo.into_iter().flatten().for_each(|part| self.folded(part, work));
                Ok(())
            }
            Fold::Form(form) => form.chars().try_for_each(|part| self.part(part, work)),
            Fold::Itself => self.part(character, work),
        }
    }

    fn part(&mut self, character: char, work: &mut Workspace) -> Result<(), Full> {
        if normalise::is_punctuation(character) {
            return self.single(character, work);
        }
        self.folded(character, work);
        Ok(())
    }

    /// Adds a character to the word; marks wait until they can be put into canonical order.
    fn folded(&mut self, character: char, work: &mut Workspace) {
        let class = normalise::combining_class(character);
        if class == 0 {
            flush_marks(work);
            work.push(character);
        } else {
            work.marks.push((character, class));
        }
    }

    /// A word of one character.
    fn single(&mut self, character: char, work: &mut Workspace) -> Result<(), Full> {
        self.end_word(work)?;
        work.push(character);
        self.end_word(work)
    }

    fn end_word(&mut self, work: &mut Workspace) -> Result<(), Full> {
        flush_marks(work);
        if work.characters == 0 {
            return Ok(());
        }
        let known = work.characters <= WORD_CHARACTERS_MAX;
        let result = if known { self.pieces(&work.word) } else { self.token(self.tokenizer.unknown()) };
        work.clear();
        result
    }

    /// The longest known piece from the left, again and again; one unknown token where a rest has none.
    fn pieces(&mut self, word: &[u8]) -> Result<(), Full> {
        let vocabulary = &self.tokenizer.vocabulary;
        let start = self.ids.len();
        let Some((id, mut at)) = vocabulary.longest_first(word) else {
            return self.token(self.tokenizer.unknown());
        };
        let mut overflow = self.token(id).is_err();
        while at < word.len() {
            let Some((id, length)) = vocabulary.longest_next(&word[at..]) else {
                self.ids.truncate(start);
                return self.token(self.tokenizer.unknown());
            };
            overflow |= self.token(id).is_err();
            at += length;
        }
        if overflow { Err(Full) } else { Ok(()) }
    }
}

fn flush_marks(work: &mut Workspace) {
    if work.marks.is_empty() {
        return;
    }
    let mut marks = std::mem::take(&mut work.marks);
    marks.sort_by_key(|&(_, class)| class);
    marks.drain(..).for_each(|(character, _)| work.push(character));
    work.marks = marks;
}
