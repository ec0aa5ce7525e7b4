//! Each operation of the contract, with good and with bad calls.

mod support;

use contract::engine::{EngineStats, HelloReply, Operation, Status};
use contract::v1::*;
use engine::{Engine, EngineConfig, ReplyPayload};
use engine_core::{CallContext, Reason, TraceContext};
use prost::Message;
use std::time::{Duration, Instant};
use support::*;

fn toy() -> (Folder, Engine) {
    let folder = Folder::new();
    folder.write("toy/model.json", r#"{"backend": "toy"}"#);
    let engine = open(&folder);
    (folder, engine)
}

fn infer(inputs: Vec<Tensor>) -> InferRequest {
    InferRequest { model: "toy".into(), id: "7".into(), inputs, ..InferRequest::default() }
}

#[test]
fn echo_and_sum_answer_without_a_header() {
    let (_folder, engine) = toy();
    let reply = call_bytes(&engine, Operation::Echo, b"ignored", &[b"a", b""]);
    assert!(reply.status == Status::Ok && reply.header.is_empty() && matches!(reply.payload, ReplyPayload::Echo));
    let reply = call_bytes(&engine, Operation::Sum, b"", &[&[255; 1000]]);
    let ReplyPayload::Word(word) = reply.payload else { panic!("a word") };
    assert_eq!(u64::from_le_bytes(word), 255_000);
    for payload in [&[][..], &[&b"a"[..], b"b"]] {
        assert_eq!(call_bytes(&engine, Operation::Sum, b"", payload).status, Status::InvalidArgument);
    }
}

#[test]
fn hello_tells_what_both_sides_must_agree_on() {
    let (_folder, engine) = toy();
    let (hello, _) = call::<HelloReply>(&engine, Operation::Hello, &(), &[]).expect("answers");
    assert_eq!((hello.abi_version, hello.contract_hash.as_str()), (contract::ABI_VERSION, contract::CONTRACT_HASH));
    assert_eq!((hello.backends, hello.process_id), (vec!["toy".to_owned()], std::process::id()));
}

#[test]
fn infer_answers_with_the_tensors_of_the_model() {
    let (_folder, engine) = toy();
    let data = bytes(&[1.0, 2.0, 3.0, 4.0]);
    let request = infer(vec![fp32("x", &[2, 2])]);
    let (response, tensors) = call::<InferResponse>(&engine, Operation::Infer, &request, &[&data]).expect("answers");
    assert_eq!((response.model.as_str(), response.version.as_str(), response.id.as_str()), ("toy", "1", "7"));
    assert_eq!(response.outputs, [fp32("y", &[2, 2])]);
    assert_eq!(&tensors[0].data[..], bytes(&[2.0, 4.0, 6.0, 8.0]));
}

#[test]
fn tensors_at_fault_are_named() {
    let (_folder, engine) = toy();
    let data = bytes(&[1.0, 2.0]);
    let data = data.as_slice();
    let strange = Tensor { datatype: "FP8".into(), ..fp32("x", &[1, 2]) };
    let filled = Tensor { data: vec![0], ..fp32("x", &[1, 2]) };
    let text = Tensor { datatype: "BYTES".into(), ..fp32("x", &[1, 2]) };
    type Case<'call> = (Vec<Tensor>, Vec<&'call [u8]>, &'call str, &'call str);
    let cases: Vec<Case<'_>> = vec![
        (vec![fp32("x", &[1, 2])], vec![], "payload", "The call declares 1 tensors and carries 0 segments."),
        (vec![], vec![data], "payload", "The call declares 0 tensors and carries 1 segments."),
        (vec![], vec![], "x", "The input \"x\" is missing."),
        (vec![fp32("", &[1, 2])], vec![data], "name", "A tensor has no name."),
        (vec![fp32("x", &[1, 2]), fp32("x", &[1, 2])], vec![data, data], "x", "The tensor \"x\" comes twice."),
        (vec![fp32("x", &[1, 2]), fp32("z", &[1, 2])], vec![data, data], "z", "The model has no input \"z\"."),
        (vec![strange], vec![data], "x", "The tensor \"x\" has an unknown datatype \"FP8\"."),
        (vec![filled], vec![data], "x", "The data of \"x\" belong into the payload, not into the header."),
        (vec![text], vec![data], "x", "A string of the tensor is longer than its data."),
        (
            vec![fp32("x", &[1, 2])],
            vec![&data[..7]],
            "x",
            "The data of \"x\" has 7 bytes, which are not 2 elements of FP32.",
        ),
        (vec![fp32("x", &[-1, 2])], vec![data], "x", "A shape's lengths are 0 or more, and their product is a size."),
        (
            vec![fp32("x", &[i64::MAX, i64::MAX])],
            vec![data],
            "x",
            "A shape's lengths are 0 or more, and their product is a size.",
        ),
        (
            vec![fp32("x", &[i64::MAX, 1])],
            vec![data],
            "x",
            "The data of \"x\" has 8 bytes, which are not 9223372036854775807 elements of FP32.",
        ),
        (vec![fp32("x", &[1; 17])], vec![data], "x", "A tensor has at most 16 dimensions."),
        (
            vec![fp32("x", &[2])],
            vec![data],
            "x",
            "The input \"x\" has the shape [2], and the model takes [-1, 2] (-1: any).",
        ),
        (
            vec![fp32("x", &[2, 1])],
            vec![data],
            "x",
            "The input \"x\" has the shape [2, 1], and the model takes [-1, 2] (-1: any).",
        ),
    ];
    for (inputs, payload, parameter, message) in cases {
        let error = call::<InferResponse>(&engine, Operation::Infer, &infer(inputs), &payload).expect_err(message);
        assert_eq!(error.0, Status::InvalidArgument, "{message}");
        assert_eq!((error.1.parameter.as_str(), error.1.message.as_str()), (parameter, message));
    }
    let request = InferRequest { outputs: vec!["q".into()], ..infer(vec![fp32("x", &[1, 2])]) };
    let error = call::<InferResponse>(&engine, Operation::Infer, &request, &[data]).expect_err("no such output");
    assert_eq!((error.0, error.1.message.as_str()), (Status::InvalidArgument, "The model gives no output \"q\"."));
}

#[test]
fn models_and_versions_that_are_not_there_are_told_apart_from_bad_names() {
    let (_folder, engine) = toy();
    for (model, version, status, message) in [
        ("nothing", "", Status::ModelNotFound, "There is no model \"nothing\"."),
        ("toy", "9", Status::ModelNotFound, "The model \"toy\" has no version 9."),
        ("toy", "newest", Status::InvalidArgument, "A version is a whole number from 1, without a sign or zeros."),
        (
            "../toy",
            "",
            Status::InvalidArgument,
            "A model's name is 1 to 128 letters, digits, '.', '_' or '-', and begins with a letter or digit.",
        ),
    ] {
        let request = TokenizeRequest { model: model.into(), version: version.into(), text: "a".into() };
        let error = call::<TokenizeResponse>(&engine, Operation::Tokenize, &request, &[]).expect_err(model);
        assert_eq!((error.0, error.1.message.as_str()), (status, message));
    }
}

#[test]
fn headers_that_are_no_message_and_operations_that_are_none_are_refused() {
    let (_folder, engine) = toy();
    let with_headers = [
        Operation::Infer,
        Operation::Embed,
        Operation::Rerank,
        Operation::Tokenize,
        Operation::LoadModel,
        Operation::UnloadModel,
        Operation::TrainModel,
    ];
    for operation in with_headers {
        let reply = call_bytes(&engine, operation, &[0xff; 9], &[]);
        assert_eq!(reply.status, Status::InvalidArgument, "{operation:?}");
        let detail = contract::engine::ErrorDetail::decode(&*reply.header).expect("a detail");
        assert_eq!(detail.parameter, "header", "{operation:?}");
    }
    for operation in [Operation::Unspecified, Operation::Generate] {
        assert_eq!(call_bytes(&engine, operation, b"", &[]).status, Status::Unsupported, "{operation:?}");
    }
}

#[test]
fn a_panic_fails_its_own_call_alone() {
    let (_folder, engine) = toy();
    let data = bytes(&[1.0, 2.0]);
    let mut request = infer(vec![fp32("x", &[1, 2])]);
    request.parameters.insert("panic".into(), Parameter::default());
    let error = call::<InferResponse>(&engine, Operation::Infer, &request, &[&data]).expect_err("panics");
    assert_eq!(error.0, Status::Internal);
    request.parameters.clear();
    call::<InferResponse>(&engine, Operation::Infer, &request, &[&data]).expect("answers");
}

#[test]
fn embeddings_are_whole_rows_of_the_length_wanted() {
    let (_folder, engine) = toy();
    let request = EmbedRequest { model: "toy".into(), texts: vec!["aaa".into(), "bbb".into()], ..Default::default() };
    let (response, tensors) = call::<EmbedResponse>(&engine, Operation::Embed, &request, &[]).expect("answers");
    assert_eq!((response.dimensions, response.token_counts), (2, vec![3, 3]));
    assert_eq!(tensors[0].data[8..], bytes(&[1.0, 0.0]));
    let short = EmbedRequest { dimensions: 1, ..request.clone() };
    let (response, tensors) = call::<EmbedResponse>(&engine, Operation::Embed, &short, &[]).expect("answers");
    assert_eq!((response.dimensions, &tensors[0].data[..]), (1, bytes(&[1.0, 1.0]).as_slice()));
    let none = EmbedRequest { texts: Vec::new(), ..request.clone() };
    let both = EmbedRequest { tokens: vec![TokenIds::default()], ..request.clone() };
    let many = EmbedRequest { texts: vec![String::new(); 2049], ..request.clone() };
    let long = EmbedRequest { dimensions: 3, ..request };
    for (request, parameter) in [(none, "texts"), (both, "tokens"), (many, "texts"), (long, "dimensions")] {
        let error = call::<EmbedResponse>(&engine, Operation::Embed, &request, &[]).expect_err(parameter);
        assert_eq!((error.0, error.1.parameter.as_str()), (Status::InvalidArgument, parameter));
    }
}

#[test]
fn a_model_that_embeds_ranks_by_cosine() {
    let (_folder, engine) = toy();
    let documents = ["bbb", "aaa", "aab"].map(String::from).to_vec();
    let request =
        RerankRequest { model: "toy".into(), query: "aaaa".into(), documents, top_n: 2, ..Default::default() };
    let (response, _) = call::<RerankResponse>(&engine, Operation::Rerank, &request, &[]).expect("answers");
    assert_eq!(response.results.iter().map(|result| result.index).collect::<Vec<_>>(), [1, 2]);
    assert!((response.results[0].relevance_score - 1.0).abs() < 1e-6);
    assert_eq!(response.usage.map(|usage| usage.prompt_tokens), Some(13));
    let empty = RerankRequest { query: String::new(), ..request };
    let error = call::<RerankResponse>(&engine, Operation::Rerank, &empty, &[]).expect_err("no query");
    assert_eq!(error.1.parameter, "query");
}

fn generate(
    engine: &Engine,
    prompt: &str,
) -> (Result<(), engine_core::EngineError>, String, Option<Result<(), Reason>>) {
    let request = GenerateRequest { model: "toy".into(), prompt: Some(prompt.into()), ..GenerateRequest::default() };
    let (sink, events) = Listener::new();
    let begun = engine.generate(CallContext::default(), &request.encode_to_vec(), sink);
    let (mut text, mut end) = (String::new(), None);
    for event in events {
        match event {
            Ok(response) => text.push_str(&response.text),
            Err(result) => {
                assert!(end.is_none(), "a generation ends once");
                end = Some(result.map_err(|error| error.reason));
            }
        }
    }
    (begun, text, end)
}

#[test]
fn a_generation_that_began_ends_once_whatever_the_model_does() {
    let (_folder, engine) = toy();
    assert_eq!(generate(&engine, "one two"), (Ok(()), "onetwo".to_owned(), Some(Ok(()))));
    for prompt in ["forget", "forget later"] {
        assert_eq!(generate(&engine, prompt), (Ok(()), String::new(), Some(Err(Reason::Internal))), "{prompt}");
    }
    for (prompt, reason) in [("refuse", Reason::Overloaded), ("panic", Reason::Internal)] {
        let (begun, _, end) = generate(&engine, prompt);
        assert_eq!((begun.map_err(|error| error.reason), end), (Err(reason), None), "{prompt}");
    }
    let (stats, _) = call::<EngineStats>(&engine, Operation::Stats, &(), &[]).expect("answers");
    assert_eq!((stats.running, stats.calls), (0, 6));
    let request = GenerateRequest { model: "toy".into(), priority: 256, ..GenerateRequest::default() };
    let error = engine.generate(CallContext::default(), &request.encode_to_vec(), Listener::new().0).expect_err("high");
    assert_eq!(error.parameter.as_deref(), Some("priority"));
}

#[test]
fn an_unload_waits_for_generations_and_a_cancelled_one_ends() {
    let (_folder, engine) = toy();
    let context = CallContext::default();
    let request = GenerateRequest { model: "toy".into(), prompt: Some("endless".into()), ..Default::default() };
    let (sink, events) = Listener::new();
    engine.generate(context.clone(), &request.encode_to_vec(), sink).expect("begins");
    let unload = UnloadModelRequest { model: "toy".into(), ..Default::default() };
    std::thread::scope(|scope| {
        let unloading =
            scope.spawn(|| call::<UnloadModelResponse>(&engine, Operation::UnloadModel, &unload, &[]).is_ok());
        let state = || {
            let (list, _) = call::<ListModelsResponse>(&engine, Operation::ListModels, &(), &[]).expect("answers");
            list.models[0].state()
        };
        while state() != ModelState::Unloading {
            std::thread::yield_now();
        }
        let (stats, _) = call::<EngineStats>(&engine, Operation::Stats, &(), &[]).expect("answers");
        assert_eq!(stats.running, 2, "the generation and the unload");
        context.cancel();
        let end = events.iter().find_map(Result::err).expect("ends");
        assert_eq!(end.map_err(|error| error.reason), Err(Reason::Cancelled));
        assert!(unloading.join().expect("no panic"));
        assert_eq!(state(), ModelState::Unloaded);
    });
}

#[test]
fn batched_calls_are_answered_each_with_its_own_and_counted() {
    let folder = Folder::new();
    folder.write("toy/model.json", r#"{"backend": "toy", "batching": {"size_max": 6, "wait_us": 1000}}"#);
    let engine = open(&folder);
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let engine = &engine;
            scope.spawn(move || {
                let value = f32::from(thread);
                let request = infer(vec![fp32("x", &[1, 2])]);
                let data = bytes(&[value, -value]);
                let (_, tensors) =
                    call::<InferResponse>(engine, Operation::Infer, &request, &[&data]).expect("answers");
                assert_eq!(&tensors[0].data[..], bytes(&[2.0 * value, -2.0 * value]));
                let texts = vec!["x".repeat(usize::from(thread) + 1)];
                let request = EmbedRequest { model: "toy".into(), texts, ..Default::default() };
                let (response, _) = call::<EmbedResponse>(engine, Operation::Embed, &request, &[]).expect("answers");
                assert_eq!(response.token_counts, [u32::from(thread) + 1]);
            });
        }
    });
    let (stats, _) = call::<EngineStats>(&engine, Operation::Stats, &(), &[]).expect("answers");
    assert_eq!((stats.batched_calls, stats.waiting, stats.waiting_max), (16, 0, 2048));
    assert!(stats.batches >= 4 && stats.batches < 16, "{} batches", stats.batches);
    let (list, _) = call::<ListModelsResponse>(&engine, Operation::ListModels, &(), &[]).expect("answers");
    assert_eq!((list.models[0].batch_size_max, list.models[0].memory_bytes), (6, 1));
    assert_eq!(list.models[0].capabilities, ["infer", "embed", "generate", "rerank"]);
}

#[test]
fn a_call_that_nobody_waits_for_is_not_begun() {
    let (_folder, engine) = toy();
    let request = TokenizeRequest { model: "toy".into(), text: "a".into(), ..Default::default() }.encode_to_vec();
    let mut context = CallContext::default();
    context.deadline = Some(Instant::now());
    let make = |context: &CallContext| engine::IncomingCall {
        operation: Operation::Tokenize,
        context: context.clone(),
        header: &request,
        payload: &[],
    };
    assert_eq!(engine.call(&make(&context)).status, Status::DeadlineExceeded);
    context.deadline = Instant::now().checked_add(Duration::from_secs(60));
    assert_eq!(engine.call(&make(&context)).status, Status::Ok);
    context.cancel();
    assert_eq!(engine.call(&make(&context)).status, Status::Cancelled);
}

#[test]
fn a_draining_engine_finishes_and_tells_but_takes_nothing_new() {
    let (_folder, engine) = toy();
    let request = TokenizeRequest { model: "toy".into(), text: "a".into(), ..Default::default() };
    call::<TokenizeResponse>(&engine, Operation::Tokenize, &request, &[]).expect("answers");
    engine.drain();
    let error = call::<TokenizeResponse>(&engine, Operation::Tokenize, &request, &[]).expect_err("drains");
    assert_eq!(error.0, Status::Unavailable);
    assert_eq!(generate(&engine, "one").0.map_err(|error| error.reason), Err(Reason::Unavailable));
    for operation in [Operation::Echo, Operation::Hello, Operation::Stats, Operation::ListModels] {
        assert_eq!(call_bytes(&engine, operation, b"", &[]).status, Status::Ok, "{operation:?}");
    }
}

#[test]
fn spans_of_a_traced_call_come_with_stats() {
    let (_folder, engine) = toy();
    let mut context = CallContext::default();
    context.trace = TraceContext { trace_id: [5; 16], span_id: [6; 8], flags: 1 };
    let request = TokenizeRequest { model: "none".into(), ..Default::default() }.encode_to_vec();
    let call_one = engine::IncomingCall { operation: Operation::Tokenize, context, header: &request, payload: &[] };
    assert_eq!(engine.call(&call_one).status, Status::ModelNotFound);
    let (stats, _) = call::<EngineStats>(&engine, Operation::Stats, &(), &[]).expect("answers");
    let [find, span] = stats.spans.as_slice() else { panic!("two spans") };
    assert_eq!((span.name.as_str(), span.parent_span_id.as_slice()), ("OPERATION_TOKENIZE", &[6; 8][..]));
    assert_eq!(span.attributes.get("error").map(String::as_str), Some("STATUS_MODEL_NOT_FOUND"));
    assert_eq!((find.name.as_str(), &find.parent_span_id), ("find_model", &span.span_id));
    assert_eq!(find.attributes.get("model").map(String::as_str), Some("none"));
}

#[test]
fn tensors_of_every_type_pass_the_identity_model_unchanged() {
    let folder = Folder::new();
    folder.write("same/model.json", r#"{"backend": "identity"}"#);
    let config = EngineConfig { repository: folder.0.clone(), ..EngineConfig::default() };
    let engine = Engine::open(config).expect("opens");
    for data_type in engine_core::DataType::ALL {
        let data: Vec<u8> = match data_type {
            engine_core::DataType::Bytes => b"\x01\0\0\0a\0\0\0\0\x02\0\0\0bc".to_vec(),
            fixed => (0..3 * fixed.size()).map(|index| index as u8).collect(),
        };
        let tensor = Tensor { datatype: data_type.name().into(), ..fp32("t", &[3, 1]) };
        let request = InferRequest { model: "same".into(), inputs: vec![tensor], ..InferRequest::default() };
        let (response, tensors) =
            call::<InferResponse>(&engine, Operation::Infer, &request, &[&data]).expect("answers");
        assert_eq!(response.outputs, request.inputs);
        assert_eq!(&tensors[0].data[..], data);
    }
}

#[test]
fn random_bytes_as_headers_and_payloads_are_answered_with_a_status() {
    let (_folder, engine) = toy();
    let seed = Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id()) << 20;
    println!("seed {seed}");
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let valid = infer(vec![fp32("x", &[1, 2])]).encode_to_vec();
    for _ in 0..20_000 {
        let mut header = if random() % 2 == 0 { valid.clone() } else { vec![0; (random() % 64) as usize] };
        for _ in 0..random() % 4 + 1 {
            if let Some(index) = (random() as usize).checked_rem(header.len()) {
                header[index] = random() as u8;
            }
        }
        let payload = vec![random() as u8; (random() % 20) as usize];
        let operation = Operation::try_from((random() % 14) as i32).expect("an operation");
        let segments = vec![payload.as_slice(); (random() % 3) as usize];
        call_bytes(&engine, operation, &header, &segments);
    }
    // One of them may have unloaded it.
    let load = LoadModelRequest { model: "toy".into(), ..Default::default() };
    call::<Model>(&engine, Operation::LoadModel, &load, &[]).expect("loads");
    let request = TokenizeRequest { model: "toy".into(), text: "a".into(), ..Default::default() };
    call::<TokenizeResponse>(&engine, Operation::Tokenize, &request, &[]).expect("still answers");
}
