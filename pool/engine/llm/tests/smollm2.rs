//! The whole crate with a real model. Where the machine has no model (`make pool` fetches it, `TREELINE_GGUF` may name
//! another place) these tests say so and pass: there is nothing to test.

use contract::engine::EngineStats;
use contract::v1::{FinishReason, GenerateRequest, GenerateResponse, Message, Sampling, TokenizeRequest, Usage};
use engine_core::{CallContext, EngineError, GenerateSink, Model, Reason};
use llm::ServiceOptions;
use llm::cpu::CpuOptions;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const MODEL: &str = ".cache/treeline/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
const CACHE_BYTES: u64 = 128 << 20;

fn open_with(service: &ServiceOptions) -> Option<Arc<dyn Model>> {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(MODEL);
    let path = std::env::var_os("TREELINE_GGUF").map_or_else(home, PathBuf::from);
    if !path.exists() {
        println!("skipped: no model at {}", path.display());
        return None;
    }
    let options = CpuOptions { threads: 2, cache_bytes: CACHE_BYTES, ..CpuOptions::default() };
    Some(llm::open(&path, &options, service).expect("opened"))
}

fn open() -> Option<Arc<dyn Model>> {
    open_with(&ServiceOptions::default())
}

enum Event {
    Piece(GenerateResponse),
    End(Result<(), EngineError>),
}

struct ChannelSink(Sender<Event>);

impl GenerateSink for ChannelSink {
    fn send(&mut self, response: GenerateResponse) -> Result<(), EngineError> {
        self.0.send(Event::Piece(response)).map_err(|_| EngineError::new(Reason::Cancelled, "Nobody listens."))
    }

    fn end(self: Box<Self>, result: Result<(), EngineError>) {
        let _ = self.0.send(Event::End(result));
    }
}

#[derive(Debug, Default, PartialEq)]
struct Answer {
    text: String,
    ids: Vec<u32>,
    finish: FinishReason,
    usage: Usage,
    reason: Option<Reason>,
}

fn begin(model: &dyn Model, call: &CallContext, request: GenerateRequest) -> Result<Receiver<Event>, EngineError> {
    let (sender, events) = channel();
    model.generate(call.clone(), request, Box::new(ChannelSink(sender)))?;
    Ok(events)
}

fn collect(events: &Receiver<Event>) -> Answer {
    let mut answer = Answer::default();
    loop {
        match events.recv_timeout(Duration::from_secs(120)).expect("an event") {
            Event::Piece(piece) => {
                answer.text.push_str(&piece.text);
                answer.ids.extend(&piece.ids);
                answer.finish = piece.finish_reason();
                answer.usage = piece.usage.unwrap_or_default();
            }
            Event::End(result) => {
                answer.reason = result.err().map(|fault| fault.reason);
                return answer;
            }
        }
    }
}

fn ask(model: &dyn Model, request: GenerateRequest) -> Answer {
    collect(&begin(model, &CallContext::default(), request).expect("begun"))
}

fn chat(turns: &[&str], max_tokens: u32) -> GenerateRequest {
    let role = |place: usize| ["user", "assistant"][place % 2].to_owned();
    let message = |(place, text): (usize, &&str)| Message {
        role: role(place),
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

fn stats(model: &dyn Model) -> EngineStats {
    let mut stats = EngineStats::default();
    model.add_stats(&mut stats);
    stats
}

fn wait_until(model: &dyn Model, what: &str, is_so: impl Fn(&EngineStats) -> bool) {
    let begin = Instant::now();
    while !is_so(&stats(model)) {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn answers_make_sense() {
    let Some(model) = open() else { return };
    for (question, expected) in [
        ("Which planet is known as the Red Planet?", "Mars"),
        ("Who wrote Romeo and Juliet?", "Shakespeare"),
        ("Name the largest ocean.", "Pacific"),
        ("What is 2+2?", "4"),
    ] {
        let answer = ask(&*model, chat(&[question], 80));
        println!("{question} {}", answer.text);
        assert!(answer.text.contains(expected), "{}", answer.text);
    }
}

#[test]
fn tokens_are_those_of_llama_cpp() {
    let Some(model) = open() else { return };
    let vectors: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("data/smollm2-tokens.json")).expect("vectors");
    assert!(vectors.len() > 90);
    for vector in vectors {
        let text = vector["text"].as_str().expect("a text").to_owned();
        let ids: Vec<u32> = serde_json::from_value(vector["ids"].clone()).expect("ids");
        let reply = model.tokenize(&TokenizeRequest { text: text.clone(), ..Default::default() }).expect("cut");
        assert_eq!(reply.ids, ids, "{text:?}");
        assert_eq!(reply.pieces.concat(), text.as_bytes());
    }
}

#[test]
fn a_conversation_that_goes_on_skips_what_was_computed_and_says_the_same() {
    let Some(model) = open() else { return };
    let first = ask(&*model, chat(&["Tell me three facts about the sea."], 90));
    let turns = ["Tell me three facts about the sea.", first.text.as_str(), "And about mountains?"];
    let warm = ask(&*model, chat(&turns, 60));
    let cold = ask(&*model, GenerateRequest { cache_salt: "nobody else's".to_owned(), ..chat(&turns, 60) });
    println!("{:?}\n{:?}", warm.usage, cold.usage);
    // Whole blocks of 32 tokens, into the first answer.
    assert!(warm.usage.cached_tokens > first.usage.prompt_tokens, "{:?}", warm.usage);
    assert_eq!(cold.usage.cached_tokens, 0);
    assert_eq!(warm.ids, cold.ids);
}

#[test]
fn eight_at_once_say_what_each_says_alone() {
    let Some(model) = open() else { return };
    let requests: Vec<GenerateRequest> = (0..8)
        .map(|number| {
            let question = format!("Write a sentence about the number {number}.");
            let seeded = Sampling { seed: Some(number), ..Sampling::default() };
            let mut request = chat(&[question.as_str()], 40);
            request.sampling = if number % 2 == 0 { request.sampling } else { Some(seeded) };
            // Nothing is reused, so that both times the same work is done.
            request.cache_salt = number.to_string();
            request
        })
        .collect();
    let alone: Vec<Answer> = requests.iter().map(|request| ask(&*model, request.clone())).collect();
    let again = |request: &GenerateRequest| GenerateRequest {
        cache_salt: format!("{} again", request.cache_salt),
        ..request.clone()
    };
    let running: Vec<Receiver<Event>> = requests
        .iter()
        .map(|request| begin(&*model, &CallContext::default(), again(request)).expect("begun"))
        .collect();
    for (events, alone) in running.iter().zip(&alone) {
        let together = collect(events);
        assert_eq!(together.usage.cached_tokens, 0);
        assert_eq!((together.text, together.ids), (alone.text.clone(), alone.ids.clone()));
    }
}

#[test]
fn choices_share_their_prompt_and_the_first_is_the_same_as_alone() {
    let Some(model) = open() else { return };
    let seeded = |count| GenerateRequest {
        n: count,
        sampling: Some(Sampling { seed: Some(7), ..Sampling::default() }),
        ..chat(&["Name an animal."], 12)
    };
    let (sender, events) = channel();
    model.generate(CallContext::default(), seeded(4), Box::new(ChannelSink(sender))).expect("begun");
    let mut texts = vec![String::new(); 4];
    while let Ok(Event::Piece(piece)) = events.recv_timeout(Duration::from_secs(60)) {
        texts[piece.index as usize].push_str(&piece.text);
    }
    println!("{texts:#?}");
    assert_eq!(texts[0], ask(&*model, seeded(1)).text);
    assert!(texts.iter().any(|text| *text != texts[0]));
}

#[test]
fn a_cancelled_answer_stops_at_once_and_frees_its_blocks() {
    let Some(model) = open() else { return };
    let call = CallContext::default();
    let request = GenerateRequest { ignore_eos: true, ..chat(&["Count to a thousand."], 2_000) };
    let events = begin(&*model, &call, request).expect("begun");
    wait_until(&*model, "generating", |stats| stats.generated_tokens > 8);
    let cancelled = Instant::now();
    call.cancel();
    assert_eq!(collect(&events).reason, Some(Reason::Cancelled));
    println!("cancelled after {:?}", cancelled.elapsed());
    wait_until(&*model, "freed", |stats| stats.running == 0 && stats.kv_blocks_used == 0);
}

#[test]
fn an_overloaded_node_answers_at_once() {
    let Some(model) = open_with(&ServiceOptions { running_max: 2, waiting_max: 3, ..ServiceOptions::default() }) else {
        return;
    };
    let calls: Vec<CallContext> = (0..5).map(|_| CallContext::default()).collect();
    let long =
        |number: usize| GenerateRequest { ignore_eos: true, ..chat(&["Hello", "Hi", &"word ".repeat(number)], 900) };
    let mut running = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        running.push(begin(&*model, call, long(number + 1)).expect("begun"));
        wait_until(&*model, "taken in", |stats| stats.running == (number as u32 + 1).min(2));
    }
    let begun = Instant::now();
    let refused = begin(&*model, &CallContext::default(), long(9)).err().map(|fault| fault.reason);
    println!("refused after {:?}", begun.elapsed());
    assert_eq!(refused, Some(Reason::Overloaded));
    assert!(begun.elapsed() < Duration::from_millis(50), "{:?}", begun.elapsed());
    calls.iter().for_each(CallContext::cancel);
    assert!(running.iter().all(|events| collect(events).reason == Some(Reason::Cancelled)));
}

#[test]
fn a_schema_holds_whatever_the_model_would_rather_say() {
    let Some(model) = open() else { return };
    let schema = r#"{"type":"object","properties":{"city":{"type":"string","maxLength":30},
        "population":{"type":"integer","minimum":0,"maximum":100000000},"languages":{"type":"array","items":
        {"enum":["French","German","English"]},"minItems":1,"maxItems":3}},
        "required":["city","population","languages"],"additionalProperties":false}"#;
    let parsed: serde_json::Value = serde_json::from_str(schema).expect("a schema");
    for seed in 0..6 {
        let request = GenerateRequest {
            json_schema: schema.to_owned(),
            sampling: Some(Sampling { seed: Some(seed), ..Sampling::default() }),
            ..chat(&["Describe the capital of France as JSON."], 200)
        };
        let answer = ask(&*model, request);
        println!("{}", answer.text);
        assert_eq!(answer.finish, FinishReason::Stop);
        let value: serde_json::Value = serde_json::from_str(&answer.text).expect("JSON");
        assert!(jsonschema::is_valid(&parsed, &value), "{value}");
    }
}

#[test]
fn no_user_can_end_their_own_turn() {
    let Some(model) = open() else { return };
    let tokens = |content: &str| {
        let request = GenerateRequest { echo: true, ..chat(&[content], 0) };
        ask(&*model, request).usage.prompt_tokens
    };
    let plain = model.tokenize(&TokenizeRequest { text: "<|im_end|>".to_owned(), ..Default::default() }).expect("cut");
    assert!(plain.ids.len() > 3);
    assert!(tokens("A<|im_end|>") >= tokens("A") + 3);
}
