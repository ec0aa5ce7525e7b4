//! A real language model beside the kernels of the crate `llm`, and served. Where the machine has no model (`make pool`
//! fetches it, `TREELINE_GGUF` may name another place) these tests say so and pass: there is nothing to test.

use backend_candle::{CandleOptions, open_decoder};
use contract::v1::{FinishReason, GenerateRequest, GenerateResponse, Message, Sampling, Usage};
use engine_core::{CallContext, EngineError, GenerateSink, Model, ModelSource, Reason};
use llm::cpu::CpuOptions;
use llm::gguf::Gguf;
use llm::{Decoder, Language, StepSequence};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

const MODEL: &str = ".cache/treeline/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
const CACHE_BYTES: u64 = 128 << 20;
const TEXT: &str = "The sea covers more than two thirds of the Earth. Its deepest known place lies in the Mariana Trench, \
    almost eleven kilometres below the surface. Waves are made by the wind, tides by the Moon and the Sun. Most of the \
    oxygen that we breathe comes from small plants that live near the surface, and fish of all sizes live on them.";

/// How far two logits may be from each other: both decoders round rows of activations to 8 bits, each in its own way. The
/// logits of this model spread over some 40.
const LOGITS_APART_MAX: f32 = 1.5;

fn path() -> Option<PathBuf> {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(MODEL);
    let path = std::env::var_os("TREELINE_GGUF").map_or_else(home, PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no model at {}", path.display());
    None
}

fn candle(file: &Gguf) -> Box<dyn Decoder> {
    open_decoder(file, &CandleOptions { cache_bytes: CACHE_BYTES, ..Default::default() }).expect("opened")
}

fn tokens(file: &Gguf, text: &str) -> Vec<u32> {
    Language::from_metadata(file.metadata()).expect("a language").tokenizer.encode_prompt(text)
}

/// Logits after the last of `tokens`, from `position` on.
fn logits(decoder: &mut dyn Decoder, tokens: &[u32], position: usize, blocks: &[u32]) -> Vec<f32> {
    let mut logits = Vec::new();
    decoder.step(&[StepSequence { tokens, position, blocks, wants_logits: true }], &mut logits).expect("a step");
    logits
}

fn likeliest(logits: &[f32]) -> usize {
    (0..logits.len()).max_by(|left, right| logits[*left].total_cmp(&logits[*right])).expect("a token")
}

fn apart(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
}

#[test]
fn logits_and_greedy_tokens_are_those_of_the_native_kernels() {
    let Some(path) = path() else { return };
    let file = Gguf::open(&path).expect("opened");
    let options = CpuOptions { threads: 2, cache_bytes: CACHE_BYTES, ..Default::default() };
    let (mut candle, mut native) = (candle(&file), llm::cpu::open(&file, &options).expect("opened"));
    let (mut tokens, blocks) = (tokens(&file, TEXT), (0..8).collect::<Vec<u32>>());
    let (mut most, mut other_tokens) = (0.0_f32, 0);
    let mut begin = 0;
    for _ in 0..48 {
        let ours = logits(&mut *candle, &tokens[begin..], begin, &blocks);
        let theirs = logits(&mut *native, &tokens[begin..], begin, &blocks);
        most = most.max(apart(&ours, &theirs));
        assert!(most < LOGITS_APART_MAX, "{most} at {begin}");
        let (our, their) = (likeliest(&ours), likeliest(&theirs));
        // Where they choose differently, the two tokens are about equally likely.
        if our != their {
            other_tokens += 1;
            assert!(theirs[their] - theirs[our] < LOGITS_APART_MAX, "{} over {}", theirs[their], theirs[our]);
        }
        begin = tokens.len();
        tokens.push(their as u32);
    }
    println!("logits at most {most} apart, {other_tokens} of 48 greedy tokens differ");
    assert!(other_tokens <= 4, "{other_tokens}");
}

#[test]
fn sequences_of_one_step_get_what_each_gets_alone() {
    let Some(path) = path() else { return };
    let file = Gguf::open(&path).expect("opened");
    let mut decoder = candle(&file);
    let prompts: Vec<Vec<u32>> =
        ["Once upon a time", TEXT, "The capital of France is"].iter().map(|text| tokens(&file, text)).collect();
    let blocks: Vec<Vec<u32>> = (0..3).map(|sequence| (sequence * 8..sequence * 8 + 8).collect()).collect();
    let alone: Vec<Vec<f32>> =
        (0..3).map(|sequence| logits(&mut *decoder, &prompts[sequence], 0, &blocks[sequence])).collect();
    let part = |sequence: usize| StepSequence {
        tokens: &prompts[sequence],
        position: 0,
        blocks: &blocks[sequence],
        wants_logits: true,
    };
    let mut together = Vec::new();
    decoder.step(&[part(0), part(1), part(2)], &mut together).expect("a step");
    assert!(together == alone.concat(), "{}", apart(&together, &alone.concat()));
    // One token each, of sequences of other lengths.
    let next: Vec<f32> = (0..3).flat_map(|s| logits(&mut *decoder, &[28], prompts[s].len(), &blocks[s])).collect();
    let part = |sequence: usize| StepSequence { tokens: &[28], position: prompts[sequence].len(), ..part(sequence) };
    decoder.step(&[part(0), part(1), part(2)], &mut together).expect("a step");
    assert!(together == next, "{}", apart(&together, &next));
}

fn load(path: &std::path::Path, settings: serde_json::Value) -> Result<Arc<dyn Model>, EngineError> {
    backend_candle::backend().load(&ModelSource {
        name: "smollm2".to_owned(),
        version: 1,
        folder: PathBuf::new(),
        files: BTreeMap::from([("weights".to_owned(), path.to_owned())]),
        settings: settings.as_object().cloned().unwrap_or_default(),
        threads: 2,
    })
}

struct ChannelSink(Sender<Result<GenerateResponse, EngineError>>);

impl GenerateSink for ChannelSink {
    fn send(&mut self, response: GenerateResponse) -> Result<(), EngineError> {
        self.0.send(Ok(response)).map_err(|_| EngineError::new(Reason::Cancelled, "Nobody listens."))
    }

    fn end(self: Box<Self>, result: Result<(), EngineError>) {
        if let Err(error) = result {
            let _ = self.0.send(Err(error));
        }
    }
}

#[derive(Debug, Default)]
struct Answer {
    text: String,
    ids: Vec<u32>,
    finish: FinishReason,
    usage: Usage,
}

fn ask(model: &dyn Model, request: GenerateRequest) -> Answer {
    let (sender, pieces) = channel();
    model.generate(CallContext::default(), request, Box::new(ChannelSink(sender))).expect("begun");
    let mut answer = Answer::default();
    while answer.finish == FinishReason::Unspecified {
        let piece = pieces.recv_timeout(Duration::from_secs(300)).expect("a piece").expect("no error");
        answer.text.push_str(&piece.text);
        answer.ids.extend(&piece.ids);
        answer.finish = piece.finish_reason();
        answer.usage = piece.usage.unwrap_or_default();
    }
    answer
}

fn chat(turns: &[&str], max_tokens: u32) -> GenerateRequest {
    let message = |(place, text): (usize, &&str)| Message {
        role: ["user", "assistant"][place % 2].to_owned(),
        content: (*text).to_owned(),
        ..Message::default()
    };
    GenerateRequest {
        messages: turns.iter().enumerate().map(message).collect(),
        max_tokens: Some(max_tokens),
        sampling: Some(Sampling { temperature: Some(0.0), ..Sampling::default() }),
        ..GenerateRequest::default()
    }
}

#[test]
fn a_manifest_gives_a_model_that_answers_and_goes_on_from_what_it_computed() {
    let Some(path) = path() else { return };
    let settings = serde_json::json!({"device": "cpu", "cache_bytes": CACHE_BYTES, "context_length_max": 1024});
    let model = load(&path, settings).expect("loaded");
    let description = model.description();
    assert_eq!((description.backend, description.context_length), ("candle", 1024));
    let file_bytes = std::fs::metadata(&path).expect("a file").len();
    assert!(description.memory_bytes > file_bytes / 2 + CACHE_BYTES / 2, "{}", description.memory_bytes);
    let first = ask(&*model, chat(&["Which planet is known as the Red Planet?"], 40));
    println!("{}", first.text);
    assert!(first.text.contains("Mars"), "{}", first.text);
    let turns = ["Which planet is known as the Red Planet?", first.text.as_str(), "And which is the largest?"];
    let warm = ask(&*model, chat(&turns, 12));
    let cold = ask(&*model, GenerateRequest { cache_salt: "nobody else's".to_owned(), ..chat(&turns, 12) });
    println!("{warm:?}\n{cold:?}");
    assert!(warm.usage.cached_tokens >= 32, "{:?}", warm.usage);
    assert_eq!(cold.usage.cached_tokens, 0);
    assert_eq!(warm.ids, cold.ids);
    model.stop();
}

#[test]
fn a_schema_holds_as_with_any_decoder() {
    let Some(path) = path() else { return };
    let model = load(&path, serde_json::json!({"cache_bytes": CACHE_BYTES})).expect("loaded");
    let schema = r#"{"type":"object","properties":{"city":{"enum":["Paris","London"]}},"required":["city"],
        "additionalProperties":false}"#;
    let request =
        GenerateRequest { json_schema: schema.to_owned(), ..chat(&["Name the capital of France as JSON."], 60) };
    let answer = ask(&*model, request);
    let value: serde_json::Value = serde_json::from_str(&answer.text).expect("JSON");
    assert!(value["city"] == "Paris" || value["city"] == "London", "{value}");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let Some(path) = path() else { return };
    let folder = std::env::temp_dir().join(format!("candle-smollm2-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let whole = std::fs::read(&path).expect("read");
    for length in [0, 3, 100, 1 << 20, 2 << 20, whole.len() / 2, whole.len() - 100_000] {
        let cut = folder.join("cut.gguf");
        std::fs::write(&cut, &whole[..length]).expect("written");
        let refused = load(&cut, serde_json::json!({})).err().map(|error| error.reason);
        assert_eq!(refused, Some(Reason::ModelNotReady), "cut to {length} bytes");
    }
    let _ = std::fs::remove_dir_all(folder);
}
