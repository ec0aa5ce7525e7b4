use super::*;
use crate::random::Random;
use crate::sampling::{Sampler, SamplingSettings};
use crate::tokenizer::tests::small_source;
use serde_json::json;

fn compiler() -> (Tokenizer, ConstraintCompiler) {
    let tokenizer = Tokenizer::new(&small_source()).expect("a tokenizer");
    let compiler = ConstraintCompiler::new(&tokenizer, tokenizer.size()).expect("a compiler");
    (tokenizer, compiler)
}

/// A schema of a few levels, as services ask for them.
fn schema(random: &mut Random, depth: u32) -> Value {
    let kinds = if depth == 0 { 7 } else { 10 };
    match random.below(kinds) {
        0 => json!({"type": "string", "maxLength": 12}),
        1 => json!({"type": "string", "minLength": 2, "maxLength": 6}),
        2 => json!({"type": "integer", "minimum": -20, "maximum": random.below(3_000)}),
        3 => json!({"type": "number", "minimum": 0, "maximum": 10}),
        4 => json!({"type": ["boolean", "null"]}),
        5 => json!({"enum": ["red", 7, null, [1, {"a": true}], "\"quoted\\"]}),
        6 => json!({"type": "string", "pattern": "^[a-c]{1,5}-[0-9]{2}$"}),
        7 => json!({"type": "array", "items": schema(random, depth - 1), "minItems": random.below(3), "maxItems": 4}),
        8 => json!({"anyOf": [schema(random, depth - 1), {"type": "null"}]}),
        _ => {
            let names = ["name", "age", "tags", "größe", "a b"];
            let count = 1 + random.below(4) as usize;
            let properties: Map<String, Value> =
                names[..count].iter().map(|name| ((*name).to_owned(), schema(random, depth - 1))).collect();
            let required: Vec<&str> = names[..count].iter().copied().filter(|_| random.below(2) == 0).collect();
            json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
        }
    }
}

/// Generates from logits of chance alone, in which closing signs are a little likelier than the rest.
fn generate(tokenizer: &Tokenizer, constraint: &mut Constraint, seed: u64, tokens_max: usize) -> Option<String> {
    let settings = SamplingSettings::new(None, tokenizer.size(), seed).expect("settings");
    let mut sampler = Sampler::new(Arc::new(settings), 0, &[]);
    let mut random = Random::new(seed, 77);
    let mut bytes = Vec::new();
    for _ in 0..tokens_max {
        let mut logits: Vec<f32> = (0..tokenizer.size()).map(|_| random.unit() as f32 * 4.0).collect();
        for closing in [b'"', b'}', b']'] {
            logits[usize::from(closing)] += 4.0;
        }
        let token = sampler.choose(&mut logits, Some(constraint.mask().expect("a mask"))).expect("a token");
        if tokenizer.ends().contains(&token) {
            return String::from_utf8(bytes).ok();
        }
        bytes.extend_from_slice(tokenizer.visible_piece(token));
        if constraint.push(token).expect("pushed") {
            return String::from_utf8(bytes).ok();
        }
    }
    None
}

#[test]
fn whatever_the_model_prefers_the_text_satisfies_the_schema() {
    const SCHEMAS: u64 = 200;
    let (tokenizer, compiler) = compiler();
    let mut complete = 0;
    for seed in 0..SCHEMAS {
        println!("seed {seed}");
        let schema = schema(&mut Random::new(seed, 0), 2);
        let mut constraint = compiler.compile(&schema.to_string()).expect("compiled");
        let Some(text) = generate(&tokenizer, &mut constraint, seed, 2_000) else { continue };
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|fault| panic!("{fault}: {text}"));
        assert!(jsonschema::is_valid(&schema, &value), "{schema}\n{text}");
        complete += 1;
    }
    println!("{complete} of {SCHEMAS} came to an end");
    assert!(complete >= SCHEMAS * 95 / 100, "{complete}");
}

#[test]
fn an_empty_schema_takes_any_json() {
    let (tokenizer, compiler) = compiler();
    for schema in ["{}", "true"] {
        let constraint = compiler.compile(schema).expect("compiled");
        let texts = ["null", "-1.5e3", "\"aé\\n\"", "[1, {\"a\": []}]", "{\"x\": {\"y\": [true, \"\"]}}", "{}"];
        for text in texts {
            let mut constraint = constraint.fresh();
            for token in tokenizer.encode(text) {
                constraint.push(token).unwrap_or_else(|fault| panic!("{fault}: {text}"));
            }
        }
        for seed in 0..20 {
            if let Some(text) = generate(&tokenizer, &mut constraint.fresh(), seed, 300) {
                serde_json::from_str::<serde::de::IgnoredAny>(&text).unwrap_or_else(|fault| panic!("{fault}: {text}"));
            }
        }
    }
}

#[test]
fn schemas_that_cannot_be_enforced_are_refused_at_the_start() {
    let (_, compiler) = compiler();
    let huge = format!("{{\"enum\": [\"{}\"]}}", "x".repeat(SCHEMA_BYTES_MAX));
    let deep = format!("{}{{}}{}", "{\"items\":".repeat(500), "}".repeat(500));
    let schemas = [
        "",
        "[]",
        "7",
        "false",
        "{\"type\": \"strin\"}",
        "{\"type\": 5}",
        "{\"type\": \"integer\", \"minimum\": 5, \"maximum\": 4}",
        "{\"enum\": []}",
        "{\"not\": {\"type\": \"string\"}}",
        "{\"$ref\": \"https://example.com/schema.json\"}",
        "{\"$ref\": \"#/$defs/missing\"}",
        "{\"type\": \"string\", \"pattern\": \"(\"}",
        "{\"type\": \"array\", \"uniqueItems\": true}",
        "{\"oneOf\": [{\"type\": \"string\"}, {\"maxLength\": 3}]}",
        &huge,
        &deep,
    ];
    for schema in schemas {
        let fault = compiler.compile(schema).err().unwrap_or_else(|| panic!("taken: {schema:.100}"));
        assert_eq!((fault.reason, fault.parameter.as_deref()), (Reason::InvalidArgument, Some("json_schema")));
        assert!(fault.message.len() < 400, "{fault}");
    }
}

#[test]
fn a_caller_cannot_switch_the_strictness_off() {
    let (tokenizer, compiler) = compiler();
    let schema = r#"{"x-guidance": {"lenient": true, "whitespace_flexible": true}, "type": "boolean"}"#;
    let mut constraint = compiler.compile(schema).expect("compiled");
    assert!(constraint.push(tokenizer.encode(" ")[0]).is_err());
    assert!(compiler.compile(r#"{"x-guidance": {"lenient": true}, "uniqueItems": true, "type": "array"}"#).is_err());
}

#[test]
fn a_kept_constraint_begins_anew() {
    let (tokenizer, compiler) = compiler();
    for _ in 0..3 {
        let mut constraint = compiler.compile("{\"const\": \"hello\"}").expect("compiled");
        let complete: Vec<bool> =
            tokenizer.encode("\"hello\"").iter().map(|&token| constraint.push(token).expect("pushed")).collect();
        assert_eq!(complete.last(), Some(&true));
    }
    for number in 0..2 * KEPT_MAX {
        compiler.compile(&format!("{{\"const\": {number}}}")).expect("compiled");
    }
    assert_eq!(compiler.kept.lock().expect("kept").len(), KEPT_MAX);
}

#[test]
fn control_tokens_are_no_part_of_a_json() {
    let (tokenizer, compiler) = compiler();
    let mut constraint = compiler.compile("{\"type\": \"string\"}").expect("compiled");
    constraint.push(tokenizer.encode("\"")[0]).expect("pushed");
    let mask = constraint.mask().expect("a mask").to_vec();
    let is_allowed = |token: u32| mask[token as usize / 32] >> (token % 32) & 1 == 1;
    assert!(is_allowed(tokenizer.encode("hello")[0]));
    assert!((0..tokenizer.size() as u32).filter(|&token| tokenizer.is_control(token)).all(|token| !is_allowed(token)));
}
