//! Cuts a text into the words inside which pairs are merged. Each rule is the scanner of a regular expression that models
//! were trained with; a scanner needs no engine, no backtracking and no memory. A model names its rule in
//! `tokenizer.ggml.pre`.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// How a text is cut into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordRule {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    Gpt2,
    /// Each digit apart, then [`Self::Gpt2`] in what lies between.
    SmolLm,
    /// Runs of punctuation apart, then [`Self::Gpt2`], then digits by threes.
    Default,
    /// `'s|…|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    Llama3,
    /// As [`Self::Llama3`], each digit apart.
    Qwen2,
}

impl WordRule {
    /// The rule that `tokenizer.ggml.pre` names.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "gpt-2" | "phi-2" | "jina-es" | "jina-de" | "mpt" | "olmo" | "roberta-bpe" => Self::Gpt2,
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" => Self::SmolLm,
            "default" => Self::Default,
            "llama-bpe" | "llama3" | "llama-v3" => Self::Llama3,
            "qwen2" | "deepseek-r1-qwen" => Self::Qwen2,
            _ => return None,
        })
    }

    /// Calls `each` with every word of `text`, in order. The words together are the text.
    pub fn split<'text>(self, text: &'text str, mut each: impl FnMut(&'text str)) {
        match self {
            Self::Gpt2 => walk(text, gpt2, &mut each),
            Self::SmolLm => walk(text, digit_or_rest, &mut |part| walk(part, gpt2, &mut each)),
            Self::Default => walk(text, punctuation_or_rest, &mut |part| {
                walk(part, gpt2, &mut |word| walk(word, numbers_or_rest, &mut |piece| walk(piece, threes, &mut each)));
            }),
            Self::Llama3 => walk(text, |rest| llama3(rest, 3), &mut each),
            Self::Qwen2 => walk(text, |rest| llama3(rest, 1), &mut each),
        }
    }
}

/// Cuts `text` by `next`, which gives the bytes of the first piece of a text that is not empty.
fn walk<'text>(text: &'text str, next: impl Fn(&str) -> usize, each: &mut impl FnMut(&'text str)) {
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(next(rest));
        each(word);
        rest = after;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Number,
    Space,
    Other,
}

fn class(character: char) -> Class {
    match character {
        'a'..='z' | 'A'..='Z' => Class::Letter,
        '0'..='9' => Class::Number,
        ' ' | '\t'..='\r' => Class::Space,
        '\0'..='\x7F' => Class::Other,
        _ if character.is_whitespace() => Class::Space,
        _ => match character.general_category_group() {
            GeneralCategoryGroup::Letter => Class::Letter,
            GeneralCategoryGroup::Number => Class::Number,
            _ => Class::Other,
        },
    }
}

/// Bytes of the longest start of `text` whose characters all satisfy `belongs`.
fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|character| !belongs(character)).unwrap_or(text.len())
}

fn first(text: &str) -> Option<char> {
    text.chars().next()
}

/// Bytes of the first piece: either the longest run that `belongs`, or all before the next that does.
fn run_or_rest(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    match run(text, &belongs) {
        0 => run(text, |character| !belongs(character)),
        length => length,
    }
}

fn is_number(character: char) -> bool {
    class(character) == Class::Number
}

fn digit_or_rest(text: &str) -> usize {
    match first(text) {
        Some(character) if is_number(character) => character.len_utf8(),
        _ => run(text, |character| !is_number(character)),
    }
}

fn numbers_or_rest(text: &str) -> usize {
    run_or_rest(text, is_number)
}

fn punctuation_or_rest(text: &str) -> usize {
    run_or_rest(text, |character| {
        matches!(character, '$' | '+' | '<' | '=' | '>' | '^' | '~' | '|')
            || character.general_category_group() == GeneralCategoryGroup::Punctuation
    })
}

/// Three ASCII digits, or all before the next three.
fn threes(text: &str) -> usize {
    let is_three = |window: &[u8]| window.iter().all(u8::is_ascii_digit);
    match text.as_bytes().windows(3).position(is_three) {
        Some(0) => 3,
        Some(position) => position,
        None => text.len(),
    }
}

/// Bytes of an English contraction at the start of `text`, or 0.
fn contraction(text: &str, any_case: bool) -> usize {
    const ENDINGS: [&str; 7] = ["s", "t", "re", "ve", "m", "ll", "d"];
    let Some(after) = text.strip_prefix('\'') else { return 0 };
    let begins = |ending: &&str| match after.as_bytes().get(..ending.len()) {
        Some(start) if any_case => start.eq_ignore_ascii_case(ending.as_bytes()),
        Some(start) => start == ending.as_bytes(),
        None => false,
    };
    ENDINGS.iter().find(|ending| begins(ending)).map_or(0, |ending| 1 + ending.len())
}

/// Bytes of white space at the start, less its last character where a word follows: that one belongs to the word.
fn white_space(text: &str) -> usize {
    let length = run(text, |character| class(character) == Class::Space);
    let last = text[..length].chars().next_back().map_or(0, char::len_utf8);
    if length == text.len() || length == last { length } else { length - last }
}

fn gpt2(text: &str) -> usize {
    let contraction = contraction(text, false);
    if contraction > 0 {
        return contraction;
    }
    let space = usize::from(text.starts_with(' '));
    match first(&text[space..]).map(class) {
        Some(Class::Space) | None => white_space(text),
        Some(kind) => space + run(&text[space..], |character| class(character) == kind),
    }
}

fn llama3(text: &str, digits_max: usize) -> usize {
    let contraction = contraction(text, true);
    if contraction > 0 {
        return contraction;
    }
    let Some(start) = first(text) else { return 0 };
    let is_letter = |character| class(character) == Class::Letter;
    let kind = class(start);
    let lead = if kind == Class::Letter { 0 } else { start.len_utf8() };
    let takes_letters = !matches!(start, '\r' | '\n') && kind != Class::Number;
    let letters = if takes_letters { run(&text[lead..], is_letter) } else { 0 };
    if letters > 0 {
        return lead + letters;
    }
    if kind == Class::Number {
        return text.chars().take(digits_max).take_while(|&character| is_number(character)).map(char::len_utf8).sum();
    }
    let space = usize::from(start == ' ');
    let others = run(&text[space..], |character| class(character) == Class::Other);
    if others > 0 {
        let end = space + others;
        return end + run(&text[end..], |character| matches!(character, '\r' | '\n'));
    }
    let blank = &text[..run(text, |character| class(character) == Class::Space)];
    match blank.rfind(['\r', '\n']) {
        Some(newline) => newline + 1,
        None => white_space(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(rule: WordRule, text: &str) -> Vec<&str> {
        let mut words = Vec::new();
        rule.split(text, |word| words.push(word));
        words
    }

    #[test]
    fn a_space_belongs_to_the_word_after_it() {
        assert_eq!(words(WordRule::Gpt2, "Hello  big world!\n"), ["Hello", " ", " big", " world", "!", "\n"]);
        assert_eq!(words(WordRule::Gpt2, "it's we'll 'S"), ["it", "'s", " we", "'ll", " '", "S"]);
    }

    #[test]
    fn digits_are_cut_as_the_rule_says() {
        assert_eq!(words(WordRule::Gpt2, "a 1234"), ["a", " 1234"]);
        assert_eq!(words(WordRule::SmolLm, "a 1234"), ["a", " ", "1", "2", "3", "4"]);
        assert_eq!(words(WordRule::Default, "a 1234"), ["a", " ", "123", "4"]);
        assert_eq!(words(WordRule::Llama3, "a 1234"), ["a", " ", "123", "4"]);
        assert_eq!(words(WordRule::Qwen2, "a 12"), ["a", " ", "1", "2"]);
    }

    #[test]
    fn llama3_joins_line_ends_and_takes_one_sign_before_letters() {
        assert_eq!(words(WordRule::Llama3, "x  \n\n  y"), ["x", "  \n\n", " ", " y"]);
        assert_eq!(words(WordRule::Llama3, "(abc) IT'S;\r\n"), ["(abc", ")", " IT", "'S", ";\r\n"]);
    }

    #[test]
    fn words_together_are_the_text() {
        let text = "Ünïcode ٣٤ — 日本語\u{00A0}\u{3000} 𝒳²½ e\u{301} 'll\t\r\n 🦀🦀 $5.99 <|x|>\n";
        for rule in [WordRule::Gpt2, WordRule::SmolLm, WordRule::Default, WordRule::Llama3, WordRule::Qwen2] {
            assert_eq!(words(rule, text).concat(), text, "{rule:?}");
        }
    }
}
