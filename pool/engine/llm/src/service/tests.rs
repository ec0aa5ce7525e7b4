use super::*;
use crate::random::Random;
use crate::sampling::argmax;
use crate::template::tests::{CHAT_ML, message};
use crate::tokenizer::Tokenizer;
use crate::tokenizer::tests::small_source;
use crate::toy::{ToyCounts, ToyDecoder, shape, toy_logits};
use contract::v1::{Sampling, TokenIds};
use std::sync::mpsc::{Receiver, Sender, channel};

const PATIENCE: Duration = Duration::from_secs(20);

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

/// What came of a generation.
#[derive(Debug, Default)]
struct Answer {
    pieces: Vec<GenerateResponse>,
    result: Option<EngineError>,
}

impl Answer {
    fn text(&self, index: u32) -> String {
        self.pieces.iter().filter(|piece| piece.index == index).map(|piece| piece.text.as_str()).collect()
    }

    fn ids(&self, index: u32) -> Vec<u32> {
        self.pieces.iter().filter(|piece| piece.index == index).flat_map(|piece| piece.ids.clone()).collect()
    }

    fn finish(&self, index: u32) -> FinishReason {
        let last = self.pieces.iter().rfind(|piece| piece.index == index).expect("a piece");
        last.finish_reason()
    }

    fn usage(&self) -> Usage {
        self.pieces.last().and_then(|piece| piece.usage).expect("usage")
    }
}

fn collect(events: &Receiver<Event>) -> Answer {
    let mut answer = Answer::default();
    loop {
        match events.recv_timeout(PATIENCE).expect("an event") {
            Event::Piece(piece) => answer.pieces.push(piece),
            Event::End(result) => {
                answer.result = result.err();
                return answer;
            }
        }
    }
}

struct Fixture {
    model: LanguageModel,
    counts: Arc<ToyCounts>,
}

fn tokenizer() -> Tokenizer {
    Tokenizer::new(&small_source()).expect("a tokenizer")
}

fn fixture_with(change: impl FnOnce(&mut ToyDecoder, &mut ServiceOptions)) -> Fixture {
    let mut decoder = ToyDecoder::new(shape(tokenizer().size(), 400, 4, 200));
    let mut options = ServiceOptions::default();
    change(&mut decoder, &mut options);
    let counts = Arc::clone(&decoder.counts);
    let language = Language::new(tokenizer(), Some(CHAT_ML)).expect("a language");
    let model = LanguageModel::start(Box::new(decoder), language, &options).expect("started");
    Fixture { model, counts }
}

fn fixture() -> Fixture {
    fixture_with(|_, _| {})
}

impl Fixture {
    fn begin_with(&self, call: CallContext, request: GenerateRequest) -> Result<Receiver<Event>, EngineError> {
        let (sender, receiver) = channel();
        self.model.generate(call, request, Box::new(ChannelSink(sender)))?;
        Ok(receiver)
    }

    fn begin(&self, request: GenerateRequest) -> Receiver<Event> {
        self.begin_with(CallContext::default(), request).expect("begun")
    }

    fn answer(&self, request: GenerateRequest) -> Answer {
        collect(&self.begin(request))
    }

    fn stats(&self) -> EngineStats {
        let mut stats = EngineStats::default();
        self.model.add_stats(&mut stats);
        stats
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&EngineStats) -> bool) {
        let begin = Instant::now();
        while !is_so(&self.stats()) {
            assert!(begin.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn greedy() -> Option<Sampling> {
    Some(Sampling { temperature: Some(0.0), ..Sampling::default() })
}

fn request(prompt: &str, max_tokens: u32) -> GenerateRequest {
    GenerateRequest {
        model: "toy".to_owned(),
        version: "3".to_owned(),
        prompt: Some(prompt.to_owned()),
        max_tokens: Some(max_tokens),
        sampling: greedy(),
        ignore_eos: true,
        ..GenerateRequest::default()
    }
}

/// What the toy says to `prompt`, computed without blocks or batches.
fn alone(prompt: &[u32], count: usize) -> Vec<u32> {
    let size = tokenizer().size();
    let mut tokens = prompt.to_vec();
    for _ in 0..count {
        tokens.push(argmax(&toy_logits(size, &tokens)).expect("a token"));
    }
    tokens.split_off(prompt.len())
}

#[test]
fn an_answer_comes_in_pieces_with_its_name_first_and_its_usage_last() {
    let fixture = fixture();
    let answer = fixture.answer(request("hello wow", 30));
    assert!(answer.result.is_none());
    assert_eq!(answer.ids(0), alone(&tokenizer().encode("hello wow"), 30));
    assert!(answer.pieces.len() > 5);
    assert_eq!((answer.pieces[0].model.as_str(), answer.pieces[0].version.as_str()), ("toy", "3"));
    assert!(answer.pieces[1..].iter().all(|piece| piece.model.is_empty()));
    assert!(answer.pieces[..answer.pieces.len() - 1].iter().all(|piece| piece.usage.is_none()));
    assert_eq!(answer.finish(0), FinishReason::Length);
    let usage = answer.usage();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens), (3, 30, 0));
    assert!(usage.queue_ns > 0 && usage.prefill_ns > 0 && usage.decode_ns > 0);
    let stats = fixture.stats();
    assert_eq!((stats.prompt_tokens, stats.generated_tokens, stats.running, stats.kv_blocks_used), (3, 30, 0, 0));
}

#[test]
fn a_crowd_gets_what_each_gets_alone() {
    for copies in [true, false] {
        let fixture = fixture_with(|decoder, options| {
            decoder.copies = copies;
            options.running_max = 5;
        });
        let requests: Vec<GenerateRequest> = (0..12)
            .map(|number| GenerateRequest {
                n: 1 + number % 3,
                sampling: Some(Sampling { seed: Some(u64::from(number)), ..Sampling::default() }),
                ..request(&"hello wow ".repeat(1 + number as usize % 5), 40)
            })
            .collect();
        let expected: Vec<Answer> = requests.iter().map(|request| fixture.answer(request.clone())).collect();
        let running: Vec<Receiver<Event>> = requests.iter().map(|request| fixture.begin(request.clone())).collect();
        for (events, expected) in running.iter().zip(&expected) {
            let answer = collect(events);
            for index in 0..3 {
                assert_eq!(answer.ids(index), expected.ids(index));
                assert_eq!(answer.text(index), expected.text(index));
            }
        }
        assert!(fixture.counts.sequences_most.load(Ordering::Relaxed) > 1);
    }
}

#[test]
fn choices_differ_by_chance_and_each_ends_for_itself() {
    let fixture = fixture();
    let answer = fixture.answer(GenerateRequest { n: 4, sampling: None, ..request("hello", 20) });
    let texts: std::collections::BTreeSet<Vec<u32>> = (0..4).map(|index| answer.ids(index)).collect();
    assert_eq!(texts.len(), 4);
    assert!((0..4).all(|index| answer.ids(index).len() == 20 && answer.finish(index) == FinishReason::Length));
    assert_eq!(answer.usage().completion_tokens, 80);
    assert_eq!(answer.pieces.iter().filter(|piece| piece.usage.is_some()).count(), 1);
}

#[test]
fn a_prefix_is_reused_and_changes_nothing() {
    let fixture = fixture();
    let prompt = "hello wow ".repeat(8);
    let tokens = tokenizer().encode(&prompt).len();
    let first = fixture.answer(request(&prompt, 10));
    let computed = fixture.counts.tokens.load(Ordering::Relaxed);
    let second = fixture.answer(request(&prompt, 10));
    let computed_again = fixture.counts.tokens.load(Ordering::Relaxed) - computed;
    assert_eq!(first.ids(0), second.ids(0));
    let cached = second.usage().cached_tokens as usize;
    assert_eq!(cached, (tokens - 1) / 4 * 4);
    assert_eq!(computed_again as usize, tokens - cached + 9);
    let salted = fixture.answer(GenerateRequest { cache_salt: "other".to_owned(), ..request(&prompt, 10) });
    assert_eq!((salted.usage().cached_tokens, salted.ids(0)), (0, first.ids(0)));
}

#[test]
fn the_end_of_text_ends_it_and_is_no_part_of_it() {
    let fixture = fixture();
    let end = tokenizer().ends()[0];
    let bias =
        |value| Some(Sampling { temperature: Some(0.0), logit_bias: [(end, value)].into(), ..Sampling::default() });
    let answer = fixture.answer(GenerateRequest { sampling: bias(100.0), ignore_eos: false, ..request("hello", 20) });
    assert_eq!((answer.text(0).as_str(), answer.ids(0).len()), ("", 0));
    assert_eq!((answer.finish(0), answer.usage().completion_tokens), (FinishReason::Stop, 1));
    let ignoring = fixture.answer(GenerateRequest { sampling: bias(100.0), ..request("hello", 20) });
    assert_eq!((ignoring.text(0).as_str(), ignoring.ids(0).len()), ("", 20));
    assert_eq!(ignoring.finish(0), FinishReason::Length);
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let fixture = fixture();
    let whole = fixture.answer(request("hello wow", 60)).text(0);
    let characters: Vec<char> = whole.chars().collect();
    let stop: String = characters[10..13].iter().collect();
    let answer = fixture.answer(GenerateRequest { stop: vec![stop.clone()], ..request("hello wow", 60) });
    assert_eq!(answer.text(0), whole[..whole.find(&stop).expect("found")]);
    assert_eq!(answer.finish(0), FinishReason::Stop);
    assert!(answer.usage().completion_tokens < 60);
}

#[test]
fn text_is_whole_characters_and_all_of_it() {
    let fixture = fixture();
    let answer = fixture.answer(request("hello", 200));
    let tokenizer = tokenizer();
    let bytes: Vec<u8> = answer.ids(0).iter().flat_map(|&id| tokenizer.visible_piece(id)).copied().collect();
    assert_eq!(answer.text(0), String::from_utf8_lossy(&bytes));
}

#[test]
fn the_prompt_is_echoed_in_front_of_the_first_choice() {
    let fixture = fixture();
    let echo = |request| GenerateRequest { echo: true, n: 2, ..request };
    let answer = fixture.answer(echo(request("hello wow", 5)));
    let plain = fixture.answer(request("hello wow", 5)).text(0);
    assert_eq!((answer.text(0), answer.text(1)), (format!("hello wow{plain}"), plain.clone()));
    let tokens = TokenIds { ids: tokenizer().encode("hello wow") };
    let given = GenerateRequest { prompt: None, prompt_tokens: Some(tokens), ..request("", 5) };
    assert_eq!(fixture.answer(echo(given)).text(0), format!("hello wow{plain}"));
    let none = fixture.answer(echo(request("hello", 0)));
    assert_eq!(
        (none.text(0).as_str(), none.finish(0), none.finish(1)),
        ("hello", FinishReason::Length, FinishReason::Length)
    );
    assert_eq!((none.usage().prompt_tokens, none.usage().completion_tokens), (1, 0));
}

#[test]
fn log_probabilities_come_with_their_tokens() {
    let fixture = fixture();
    let answer = fixture.answer(GenerateRequest { top_logprobs: Some(3), ..request("hello", 12) });
    let all: Vec<_> = answer.pieces.iter().flat_map(|piece| piece.logprobs.clone()).collect();
    assert_eq!(all.iter().map(|item| item.id).collect::<Vec<_>>(), answer.ids(0));
    for item in &all {
        assert_eq!((item.top.len(), item.top[0].id, item.top[0].logprob), (3, item.id, item.logprob));
        assert!(item.logprob < 0.0 && item.top[1].logprob <= item.top[0].logprob);
        assert_eq!(item.piece, tokenizer().piece(item.id));
    }
    let none = fixture.answer(GenerateRequest { top_logprobs: Some(0), ..request("hello", 2) });
    assert!(none.pieces.iter().flat_map(|piece| &piece.logprobs).all(|item| item.top.is_empty()));
}

#[test]
fn a_conversation_goes_through_the_models_own_template() {
    let fixture = fixture();
    let chat = |content: &str| GenerateRequest {
        prompt: None,
        messages: vec![message("user", content)],
        echo: true,
        ..request("", 1)
    };
    let answer = fixture.answer(chat("hello <|im_end|>"));
    let rendered =
        "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\nhello <|im_end|><|im_end|>\n<|im_start|>assistant\n";
    assert!(answer.text(0).starts_with(rendered));
    // The user's text is ten tokens more than "hello " with a real end of turn would be.
    let plain = fixture.answer(chat("hello ")).usage().prompt_tokens;
    assert_eq!(answer.usage().prompt_tokens - plain, "<|im_end|>".len() as u32);
}

#[test]
fn a_schema_is_satisfied_through_the_whole_service() {
    let fixture = fixture();
    let schema = r#"{"type":"object","properties":{"ok":{"type":"boolean"},"n":{"type":"integer","minimum":0,"maximum":99}},
        "required":["ok","n"],"additionalProperties":false}"#;
    for seed in 0..20 {
        let sampling = Some(Sampling { seed: Some(seed), ..Sampling::default() });
        let answer =
            fixture.answer(GenerateRequest { json_schema: schema.to_owned(), sampling, ..request("hello", 200) });
        assert_eq!(answer.finish(0), FinishReason::Stop);
        let value: serde_json::Value = serde_json::from_str(&answer.text(0)).expect("JSON");
        assert!(jsonschema::is_valid(&serde_json::from_str(schema).expect("a schema"), &value), "{value}");
    }
}

#[test]
fn a_cancelled_generation_ends_and_gives_its_blocks_back() {
    let fixture = fixture_with(|decoder, _| decoder.step_time = Duration::from_millis(1));
    let call = CallContext::default();
    let events = fixture.begin_with(call.clone(), GenerateRequest { n: 3, ..request("hello", 390) }).expect("begun");
    fixture.wait_until("running", |stats| stats.running == 3 && stats.generated_tokens > 10);
    call.cancel();
    let answer = collect(&events);
    assert_eq!(answer.result.map(|fault| fault.reason), Some(Reason::Cancelled));
    fixture.wait_until("freed", |stats| stats.running == 0 && stats.kv_blocks_used == 0);
}

#[test]
fn a_listener_that_is_gone_cancels_its_generation_alone() {
    let fixture = fixture_with(|decoder, _| decoder.step_time = Duration::from_millis(1));
    let other = fixture.begin(request("hello wow", 50));
    drop(fixture.begin(request("hello", 390)));
    fixture.wait_until("ended", |stats| stats.running <= 1 && stats.generated_tokens > 3);
    assert_eq!(collect(&other).ids(0), alone(&tokenizer().encode("hello wow"), 50));
    assert_eq!(fixture.stats().kv_blocks_used, 0);
}

#[test]
fn an_overloaded_node_answers_at_once_even_during_a_long_step() {
    let fixture = fixture_with(|decoder, options| {
        decoder.step_time = Duration::from_millis(300);
        options.running_max = 1;
        options.waiting_max = 2;
    });
    let running = fixture.begin(request("hello", 3));
    fixture.wait_until("running", |stats| stats.running == 1);
    let waiting = [fixture.begin(request("hello", 1)), fixture.begin(request("hello", 1))];
    let begin = Instant::now();
    let refused = fixture.begin_with(CallContext::default(), request("hello", 1)).expect_err("refused");
    assert_eq!(refused.reason, Reason::Overloaded);
    assert!(begin.elapsed() < Duration::from_millis(100), "{:?}", begin.elapsed());
    assert_eq!(fixture.stats().waiting, 2);
    for events in [&running, &waiting[0], &waiting[1]] {
        assert!(collect(events).result.is_none());
    }
}

#[test]
fn a_deadline_ends_what_waits_with_an_error_and_what_runs_with_what_there_is() {
    let fixture = fixture_with(|decoder, options| {
        decoder.step_time = Duration::from_millis(2);
        options.running_max = 1;
    });
    let within = |milliseconds| {
        let mut call = CallContext::default();
        call.deadline = Some(Instant::now() + Duration::from_millis(milliseconds));
        call
    };
    let running = fixture.begin_with(within(150), request("hello", 390)).expect("begun");
    let waiting = fixture.begin_with(within(100), request("hello", 390)).expect("begun");
    let late = collect(&waiting);
    assert_eq!(late.result.map(|fault| fault.reason), Some(Reason::DeadlineExceeded));
    assert!(late.pieces.is_empty());
    let cut = collect(&running);
    assert!(cut.result.is_none());
    assert_eq!(cut.finish(0), FinishReason::Deadline);
    assert!(cut.usage().completion_tokens > 5);
    let past = fixture.begin_with(within(0), request("hello", 1)).expect_err("refused");
    assert_eq!(past.reason, Reason::DeadlineExceeded);
    assert_eq!(fixture.stats().kv_blocks_used, 0);
}

#[test]
fn a_step_that_fails_ends_its_generations_and_no_others() {
    let fixture = fixture_with(|decoder, _| decoder.counts.fails_after.store(5, Ordering::Relaxed));
    let answer = fixture.answer(request("hello", 20));
    assert_eq!(answer.result.map(|fault| fault.reason), Some(Reason::Internal));
    assert_eq!(fixture.answer(request("hello", 20)).ids(0), alone(&tokenizer().encode("hello"), 20));
    assert_eq!(fixture.stats().kv_blocks_used, 0);
}

struct PanickingSink(Sender<Event>);

impl GenerateSink for PanickingSink {
    fn send(&mut self, _response: GenerateResponse) -> Result<(), EngineError> {
        panic!("this sink panics on purpose")
    }

    fn end(self: Box<Self>, result: Result<(), EngineError>) {
        let _ = self.0.send(Event::End(result));
    }
}

#[test]
fn a_panic_ends_what_runs_and_the_model_goes_on() {
    let fixture = fixture();
    let (sender, events) = channel();
    fixture
        .model
        .generate(CallContext::default(), request("hello", 5), Box::new(PanickingSink(sender)))
        .expect("begun");
    assert_eq!(collect(&events).result.map(|fault| fault.reason), Some(Reason::Internal));
    assert_eq!(fixture.answer(request("hello", 20)).ids(0), alone(&tokenizer().encode("hello"), 20));
}

#[test]
fn a_model_that_is_stopped_ends_what_runs_and_refuses_the_rest() {
    let fixture = fixture_with(|decoder, options| {
        decoder.step_time = Duration::from_millis(1);
        options.running_max = 1;
    });
    let generations = [fixture.begin(request("hello", 390)), fixture.begin(request("wow", 390))];
    fixture.wait_until("running", |stats| stats.generated_tokens > 5);
    fixture.model.stop();
    for events in &generations {
        assert_eq!(collect(events).result.map(|fault| fault.reason), Some(Reason::Unavailable));
    }
    let refused = fixture.begin_with(CallContext::default(), request("hello", 1)).expect_err("refused");
    assert_eq!(refused.reason, Reason::Unavailable);
    fixture.model.stop();
}

#[test]
fn requests_at_fault_are_refused_with_the_field_by_name() {
    let fixture = fixture();
    let tokens = |ids| Some(TokenIds { ids });
    let cases: Vec<(&str, GenerateRequest)> = vec![
        ("messages", GenerateRequest { prompt: None, ..request("", 1) }),
        ("messages", GenerateRequest { messages: vec![message("user", "x")], ..request("x", 1) }),
        ("messages[0].role", GenerateRequest { prompt: None, messages: vec![message("boss", "x")], ..request("", 1) }),
        ("prompt", request("", 1)),
        ("prompt", request(&"hello ".repeat(400), 1)),
        ("prompt", request(&"x".repeat(1 << 20), 1)),
        ("prompt_tokens", GenerateRequest { prompt: None, prompt_tokens: tokens(vec![9_999]), ..request("", 1) }),
        ("prompt", GenerateRequest { prompt: None, prompt_tokens: tokens(vec![1; 400]), ..request("", 1) }),
        ("n", GenerateRequest { n: 17, ..request("x", 1) }),
        ("priority", GenerateRequest { priority: 256, ..request("x", 1) }),
        ("top_logprobs", GenerateRequest { top_logprobs: Some(21), ..request("x", 1) }),
        ("cache_salt", GenerateRequest { cache_salt: "s".repeat(257), ..request("x", 1) }),
        ("stop", GenerateRequest { stop: vec![String::new()], ..request("x", 1) }),
        ("json_schema", GenerateRequest { json_schema: "{".to_owned(), ..request("x", 1) }),
        (
            "temperature",
            GenerateRequest {
                sampling: Some(Sampling { temperature: Some(3.0), ..Sampling::default() }),
                ..request("x", 1)
            },
        ),
    ];
    for (parameter, request) in cases {
        let fault = fixture.begin_with(CallContext::default(), request).err().unwrap_or_else(|| panic!("{parameter}"));
        assert_eq!((fault.reason, fault.parameter.as_deref()), (Reason::InvalidArgument, Some(parameter)), "{fault}");
    }
}

#[test]
fn a_request_may_ask_for_more_than_the_context_leaves() {
    let fixture = fixture();
    let answer = fixture.answer(request("hello", 10_000));
    assert_eq!((answer.finish(0), answer.usage().completion_tokens), (FinishReason::Length, 399));
    let mut unbounded = request("hello", 0);
    unbounded.max_tokens = None;
    assert_eq!(fixture.answer(unbounded).usage().completion_tokens, 399);
}

#[test]
fn tokens_of_a_text_come_with_their_pieces() {
    let fixture = fixture();
    let reply =
        fixture.model.tokenize(&TokenizeRequest { text: "hello wé".to_owned(), ..Default::default() }).expect("cut");
    assert_eq!(reply.pieces.concat(), "hello wé".as_bytes());
    assert_eq!(reply.ids.len(), reply.pieces.len());
    let long = TokenizeRequest { text: "x".repeat(TOKENIZE_BYTES_MAX + 1), ..Default::default() };
    assert_eq!(fixture.model.tokenize(&long).expect_err("too long").reason, Reason::InvalidArgument);
}

#[test]
fn a_tokenizer_that_does_not_belong_to_the_model_is_refused() {
    let decoder = ToyDecoder::new(shape(10, 400, 4, 200));
    let language = Language::new(tokenizer(), None).expect("a language");
    let fault = LanguageModel::start(Box::new(decoder), language, &ServiceOptions::default()).err().expect("refused");
    assert_eq!(fault.reason, Reason::ModelNotReady);
}

#[test]
fn many_threads_ask_cancel_and_overload_and_nothing_is_lost() {
    let seed = 5;
    println!("seed {seed}");
    let fixture = fixture_with(|_, options| {
        options.running_max = 6;
        options.waiting_max = 10;
    });
    let ended: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let fixture = &fixture;
                scope.spawn(move || {
                    let mut random = Random::new(seed, number);
                    (0..60).filter(|_| ask_once(fixture, &mut random)).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("joined")).sum()
    });
    println!("{ended} came to an answer");
    assert!(ended > 100);
    fixture.wait_until("all freed", |stats| stats.running + stats.waiting == 0 && stats.kv_blocks_used == 0);
}

/// Whether an answer came; it may be refused, cancelled, or late.
fn ask_once(fixture: &Fixture, random: &mut Random) -> bool {
    let mut call = CallContext::default();
    call.deadline = (random.below(4) == 0).then(|| Instant::now() + Duration::from_millis(random.below(30)));
    call.priority = random.below(3) as u8;
    let prompt = "hello wow ".repeat(1 + random.below(12) as usize);
    let count = 1 + random.below(60) as usize;
    let request = GenerateRequest { n: 1 + random.below(3) as u32, ..request(&prompt, count as u32) };
    let Ok(events) = fixture.begin_with(call.clone(), request) else { return false };
    if random.below(6) == 0 {
        std::thread::sleep(Duration::from_micros(random.below(3_000)));
        call.cancel();
    }
    let answer = collect(&events);
    if answer.result.is_some() || answer.finish(0) != FinishReason::Length {
        return false;
    }
    assert_eq!(answer.ids(0), alone(&tokenizer().encode(&prompt), count));
    true
}
