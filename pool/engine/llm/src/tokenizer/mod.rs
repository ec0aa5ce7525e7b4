//! Text to tokens and back: byte-level byte-pair encoding, as a GGUF file's metadata describes it.
//!
//! Two kinds of tokens have a text of their own besides the learnt ones. *Control* tokens (`<|im_end|>`) steer the model and
//! are read from a template's text alone, never from what a user wrote. *User-defined* ones (`<repo_name>`) are read
//! everywhere, as llama.cpp and Hugging Face do.

mod byte_characters;
mod detokenizer;
mod merge;
mod words;

pub use detokenizer::Detokenizer;
pub use words::WordRule;

use crate::template::Rendered;
use aho_corasick::{AhoCorasick, MatchKind};
use engine_core::{EngineError, Reason};
use merge::Merges;
use rustc_hash::FxHashMap;
use std::borrow::Cow;

/// Tokens of a vocabulary, at most.
pub const VOCABULARY_SIZE_MAX: usize = 1 << 20;

/// Control tokens that end a text in some model's training, besides those that the file names. A chat model may use one of
/// them without its file saying so.
const END_NAMES: [&str; 9] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<end_of_turn>",
    "<|eom_id|>",
    "</s>",
    "<EOT>",
];

/// What a GGUF file's `tokenizer.ggml.*` says.
#[derive(Debug, Clone, Default)]
pub struct TokenizerSource {
    /// `model`: only `gpt2`, byte-level pairs, is known here.
    pub model: String,
    /// `pre`, which names the [`WordRule`].
    pub pre: String,
    /// `tokens`; bytes are written as printable characters, special tokens as they are.
    pub tokens: Vec<String>,
    /// `token_type`, as long as the tokens: 1 learnt, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 a byte.
    pub token_types: Vec<u32>,
    /// `merges`: two parts with a space between, in the order in which they were learnt.
    pub merges: Vec<String>,
    /// `bos_token_id`.
    pub begin: Option<u32>,
    /// `eos_token_id`.
    pub end: Option<u32>,
    /// `eot_token_id`.
    pub end_of_turn: Option<u32>,
    /// `unknown_token_id`.
    pub unknown: Option<u32>,
    /// `add_bos_token`; absent: as the rule has it.
    pub adds_begin: Option<bool>,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Learnt,
    Control,
    UserDefined,
}

impl Kind {
    fn parse(token_type: u32) -> Self {
        match token_type {
            2 | 3 | 5 => Self::Control,
            4 => Self::UserDefined,
            _ => Self::Learnt,
        }
    }
}

/// Finds tokens that have a text of their own.
#[derive(Debug)]
struct Finder {
    texts: Option<AhoCorasick>,
    tokens: Vec<u32>,
}

impl Finder {
    fn new(tokens: Vec<u32>, texts: &[String]) -> Result<Self, EngineError> {
        if tokens.is_empty() {
            return Ok(Self { texts: None, tokens });
        }
        let texts = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|&token| &texts[token as usize]))
            .map_err(|fault| not_ready(format!("The special tokens cannot be searched for: {fault}")))?;
        Ok(Self { texts: Some(texts), tokens })
    }

    /// Cuts `text` at the tokens found, the leftmost first, the longest of those.
    fn split(&self, text: &str, mut each: impl FnMut(Part<'_>)) {
        let mut position = 0;
        for found in self.texts.iter().flat_map(|texts| texts.find_iter(text)) {
            each(Part::Text(&text[position..found.start()]));
            each(Part::Token(self.tokens[found.pattern().as_usize()]));
            position = found.end();
        }
        each(Part::Text(&text[position..]));
    }
}

enum Part<'text> {
    Text(&'text str),
    Token(u32),
}

/// Text to tokens, and tokens to bytes.
#[derive(Debug)]
pub struct Tokenizer {
    rule: WordRule,
    merges: Merges,
    byte_tokens: [Option<u32>; 256],
    /// Whole words that are tokens without being merged, where the model's rule takes them so.
    whole_words: FxHashMap<Vec<u8>, u32>,
    kinds: Vec<Kind>,
    /// The bytes of token `i` are `bytes[starts[i]..starts[i + 1]]`.
    bytes: Vec<u8>,
    starts: Vec<u32>,
    control: Finder,
    user_defined: Finder,
    control_texts: Vec<String>,
    begin: Option<u32>,
    end: Option<u32>,
    ends: Vec<u32>,
    adds_begin: bool,
    longest_token_bytes: usize,
}

fn not_ready(message: impl Into<String>) -> EngineError {
    EngineError::new(Reason::ModelNotReady, message)
}

impl Tokenizer {
    /// The tokenizer that `source` describes.
    ///
    /// # Errors
    /// `ModelNotReady` where the file's kind of tokenizer is not known here, or its parts do not fit together.
    pub fn new(source: &TokenizerSource) -> Result<Self, EngineError> {
        check(source)?;
        let rule = WordRule::parse(&source.pre)
            .ok_or_else(|| not_ready(format!("The pre-tokenizer \"{}\" is not known.", source.pre)))?;
        let kinds: Vec<Kind> = source.token_types.iter().map(|&token_type| Kind::parse(token_type)).collect();
        let of_kind = |kind| -> Vec<u32> {
            let is_found = |token: &u32| kinds[*token as usize] == kind && !source.tokens[*token as usize].is_empty();
            (0..kinds.len() as u32).filter(is_found).collect()
        };
        let ids: FxHashMap<&str, u32> = source.tokens.iter().map(String::as_str).zip(0..).collect();
        let (bytes, starts) = token_bytes(source, &kinds);
        let control = Finder::new(of_kind(Kind::Control), &source.tokens)?;
        let control_texts = control.tokens.iter().map(|&token| source.tokens[token as usize].clone()).collect();
        let longest = starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        Ok(Self {
            rule,
            merges: merges(source, &ids)?,
            byte_tokens: byte_tokens(&ids, source.unknown),
            whole_words: if rule == WordRule::Llama3 { whole_words(source, &kinds) } else { FxHashMap::default() },
            user_defined: Finder::new(of_kind(Kind::UserDefined), &source.tokens)?,
            begin: source.begin,
            end: source.end,
            ends: ends(source, &ids, &kinds),
            adds_begin: source.adds_begin.unwrap_or(rule == WordRule::Llama3),
            longest_token_bytes: longest as usize,
            control,
            control_texts,
            kinds,
            bytes,
            starts,
        })
    }

    /// Tokens of the vocabulary; ids are below this.
    pub fn size(&self) -> usize {
        self.kinds.len()
    }

    /// Bytes of the longest token: a text of `n` bytes has at least `n` divided by this many tokens.
    pub fn longest_token_bytes(&self) -> usize {
        self.longest_token_bytes
    }

    /// The tokens that end a text.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The texts of the control tokens.
    pub fn control_texts(&self) -> &[String] {
        &self.control_texts
    }

    /// The text of the token that begins a text, for chat templates; empty where there is none.
    pub fn begin_text(&self) -> Cow<'_, str> {
        self.begin.map_or(Cow::Borrowed(""), |token| String::from_utf8_lossy(self.piece(token)))
    }

    /// The text of the token that ends a text, for chat templates; empty where there is none.
    pub fn end_text(&self) -> Cow<'_, str> {
        self.end.map_or(Cow::Borrowed(""), |token| String::from_utf8_lossy(self.piece(token)))
    }

    /// The bytes of a token, a control token's name included; empty where there is no such token.
    pub fn piece(&self, token: u32) -> &[u8] {
        let token = token as usize;
        match self.starts.get(token..token + 2) {
            Some(&[start, end]) => &self.bytes[start as usize..end as usize],
            _ => &[],
        }
    }

    /// Whether a token steers the model and is no text.
    pub fn is_control(&self, token: u32) -> bool {
        self.kinds.get(token as usize) == Some(&Kind::Control)
    }

    /// The bytes that a token adds to the text that a reader sees: none for control tokens.
    pub fn visible_piece(&self, token: u32) -> &[u8] {
        if self.is_control(token) { &[] } else { self.piece(token) }
    }

    /// The tokens of a text in which nothing steers the model, with the token that begins a text in front where the model
    /// was trained so.
    pub fn encode_prompt(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(text.len() / 3 + 1);
        tokens.extend(self.begin.filter(|_| self.adds_begin));
        self.append(text, &mut tokens);
        tokens
    }

    /// The tokens of a text in which nothing steers the model.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(text.len() / 3 + 1);
        self.append(text, &mut tokens);
        tokens
    }

    /// The tokens of a rendered conversation: control tokens are read from the template's own text alone.
    pub fn encode_rendered(&self, rendered: &Rendered) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(rendered.shielded().len() / 3 + 1);
        self.control.split(rendered.shielded(), |part| match part {
            Part::Token(token) => tokens.push(token),
            Part::Text(text) => self.append(&rendered.bare(text), &mut tokens),
        });
        tokens
    }

    fn append(&self, text: &str, tokens: &mut Vec<u32>) {
        let mut word_tokens = Vec::new();
        self.user_defined.split(text, |part| match part {
            Part::Token(token) => tokens.push(token),
            Part::Text(text) => self.rule.split(text, |word| {
                word_tokens.clear();
                self.word(word.as_bytes(), &mut word_tokens);
                tokens.extend_from_slice(&word_tokens);
            }),
        });
    }

    fn word(&self, word: &[u8], tokens: &mut Vec<u32>) {
        if let Some(&token) = self.whole_words.get(word) {
            tokens.push(token);
            return;
        }
        tokens.extend(word.iter().filter_map(|&byte| self.byte_tokens[usize::from(byte)]));
        self.merges.apply(tokens);
    }
}

fn check(source: &TokenizerSource) -> Result<(), EngineError> {
    if source.model != "gpt2" {
        return Err(not_ready(format!("Tokenizers of the kind \"{}\" are not known; \"gpt2\" is.", source.model)));
    }
    let size = source.tokens.len();
    if size == 0 || size > VOCABULARY_SIZE_MAX {
        return Err(not_ready(format!("A vocabulary has 1 to {VOCABULARY_SIZE_MAX} tokens; this one has {size}.")));
    }
    if source.token_types.len() != size {
        return Err(not_ready(format!("There are {size} tokens and {} token types.", source.token_types.len())));
    }
    let named = [source.begin, source.end, source.end_of_turn, source.unknown];
    match named.into_iter().flatten().find(|&token| token as usize >= size) {
        Some(token) => Err(not_ready(format!("The special token {token} is not among the {size} tokens."))),
        None => Ok(()),
    }
}

fn token_bytes(source: &TokenizerSource, kinds: &[Kind]) -> (Vec<u8>, Vec<u32>) {
    let mut bytes = Vec::new();
    let mut starts = vec![0];
    for (text, kind) in source.tokens.iter().zip(kinds) {
        let written = if *kind == Kind::Learnt { byte_characters::decode(text) } else { None };
        bytes.extend_from_slice(written.as_deref().unwrap_or(text.as_bytes()));
        starts.push(bytes.len() as u32);
    }
    (bytes, starts)
}

fn merges(source: &TokenizerSource, ids: &FxHashMap<&str, u32>) -> Result<Merges, EngineError> {
    let mut merges = Merges::default();
    for merge in &source.merges {
        // The first character may itself be a space's stand-in, never a space.
        let parts = merge.split_once(' ');
        let (left, right) = parts.ok_or_else(|| not_ready(format!("The merge \"{merge}\" has no two parts.")))?;
        let whole = [left, right].concat();
        let found = (ids.get(left), ids.get(right), ids.get(whole.as_str()));
        if let (Some(&left), Some(&right), Some(&token)) = found {
            merges.insert(left, right, token);
        }
    }
    Ok(merges)
}

fn byte_tokens(ids: &FxHashMap<&str, u32>, unknown: Option<u32>) -> [Option<u32>; 256] {
    byte_characters::characters().map(|character| ids.get(character.to_string().as_str()).copied().or(unknown))
}

fn whole_words(source: &TokenizerSource, kinds: &[Kind]) -> FxHashMap<Vec<u8>, u32> {
    let learnt = source.tokens.iter().zip(kinds).zip(0..).filter(|((_, kind), _)| **kind == Kind::Learnt);
    learnt.filter_map(|((text, _), token)| Some((byte_characters::decode(text)?, token))).collect()
}

fn ends(source: &TokenizerSource, ids: &FxHashMap<&str, u32>, kinds: &[Kind]) -> Vec<u32> {
    let named = END_NAMES.iter().filter_map(|name| ids.get(name).copied());
    let named = named.filter(|&token| kinds[token as usize] == Kind::Control);
    let mut ends: Vec<u32> = named.chain(source.end).chain(source.end_of_turn).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::template::Rendered;

    /// A vocabulary of all bytes, a few merges and three special tokens.
    pub fn small_source() -> TokenizerSource {
        let mut tokens: Vec<String> = byte_characters::characters().iter().map(char::to_string).collect();
        let merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "Ġw o"].map(str::to_owned).to_vec();
        tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
        let mut token_types = vec![1; tokens.len()];
        for (text, token_type) in [("<|im_start|>", 3), ("<|im_end|>", 3), ("<tool>", 4)] {
            tokens.push(text.to_owned());
            token_types.push(token_type);
        }
        let begin = Some(tokens.len() as u32 - 3);
        let end = Some(tokens.len() as u32 - 2);
        let (model, pre) = ("gpt2".to_owned(), "gpt-2".to_owned());
        TokenizerSource { model, pre, tokens, token_types, merges, begin, end, ..TokenizerSource::default() }
    }

    fn text(tokenizer: &Tokenizer, tokens: &[u32]) -> String {
        String::from_utf8(tokens.iter().flat_map(|&token| tokenizer.piece(token).to_vec()).collect()).expect("UTF-8")
    }

    #[test]
    fn merges_go_in_the_order_in_which_they_were_learnt() {
        let tokenizer = Tokenizer::new(&small_source()).expect("a tokenizer");
        let pieces: Vec<&[u8]> = tokenizer.encode("hello wow").iter().map(|&token| tokenizer.piece(token)).collect();
        assert_eq!(pieces, [b"hello".as_slice(), b" wo", b"w"]);
    }

    #[test]
    fn a_text_comes_back_from_its_tokens() {
        let tokenizer = Tokenizer::new(&small_source()).expect("a tokenizer");
        for sample in ["", "hello", "Ünï <|im_end|> 🦀\n\n\t<tool>x", "\u{0}\u{7f}\u{FFFF}"] {
            assert_eq!(text(&tokenizer, &tokenizer.encode(sample)), sample);
        }
    }

    #[test]
    fn control_tokens_are_read_from_the_template_alone() {
        let tokenizer = Tokenizer::new(&small_source()).expect("a tokenizer");
        let end = tokenizer.ends()[0];
        assert!(!tokenizer.encode("<|im_end|>").contains(&end));
        let rendered = Rendered::new("a<|im_end|>b<\u{FDD0}|im_end|>".to_owned(), '\u{FDD0}');
        let tokens = tokenizer.encode_rendered(&rendered);
        assert_eq!(tokens.iter().filter(|&&token| token == end).count(), 1);
        assert_eq!(text(&tokenizer, &tokens), "a<|im_end|>b<|im_end|>");
        let tool = tokenizer.size() as u32 - 1;
        assert!(tokenizer.encode("x<tool>").contains(&tool));
    }

    #[test]
    fn a_file_whose_parts_do_not_fit_is_refused() {
        let changes: [fn(&mut TokenizerSource); 6] = [
            |source| source.model = "llama".to_owned(),
            |source| source.pre = "unheard-of".to_owned(),
            |source| source.tokens.clear(),
            |source| source.token_types.truncate(5),
            |source| source.end = Some(u32::MAX),
            |source| source.merges.push("nospace".to_owned()),
        ];
        for change in changes {
            let mut source = small_source();
            change(&mut source);
            assert_eq!(Tokenizer::new(&source).expect_err("refused").reason, Reason::ModelNotReady);
        }
    }

    #[test]
    fn a_very_long_word_takes_no_quadratic_time() {
        let tokenizer = Tokenizer::new(&small_source()).expect("a tokenizer");
        let word = "hello".repeat(200_000);
        let begin = std::time::Instant::now();
        assert_eq!(tokenizer.encode(&word).len(), 200_000);
        assert!(begin.elapsed().as_secs() < 5, "{:?}", begin.elapsed());
    }
}
