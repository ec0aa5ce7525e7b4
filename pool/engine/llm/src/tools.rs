//! Tools for a model whose chat template does not know them: told in words, in the form that Hermes and Qwen were trained on,
//! which other models follow as well as they follow instructions.

use crate::template::python_json;
use contract::v1::Message;
use serde_json::{Value as Json, json};

const BEFORE: &str = "You can call functions. These are their signatures, as JSON:\n<tools>\n";
const AFTER: &str = "\n</tools>\n\nTo call a function, answer with its name and its arguments as a JSON object between \
    <tool_call> and </tool_call>:\n<tool_call>\n{\"name\": \"name of the function\", \"arguments\": {}}\n</tool_call>";

/// A conversation in which there are only texts: `tools` (a JSON array; null for none) in the system's message, the
/// assistant's calls in its own words, and what they gave in the user's.
pub fn in_words(messages: &[Message], tools: &Json) -> Vec<Message> {
    let mut told: Vec<Message> = Vec::with_capacity(messages.len() + 1);
    let mut follows_result = false;
    for message in messages {
        let is_result = message.role == "tool";
        match told.last_mut() {
            // Several results are one message: some templates want user and assistant to take turns.
            Some(before) if is_result && follows_result => before.content = joined(&before.content, &result(message)),
            _ => told.push(in_text(message)),
        }
        follows_result = is_result;
    }
    if tools.as_array().is_some_and(|list| !list.is_empty()) {
        tell(&mut told, tools);
    }
    told
}

/// Puts the tools behind the system's message, or makes one of them.
fn tell(messages: &mut Vec<Message>, tools: &Json) {
    let signatures: Vec<String> = tools.as_array().into_iter().flatten().map(python_json).collect();
    let words = format!("{BEFORE}{}{AFTER}", signatures.join("\n"));
    match messages.first_mut() {
        Some(first) if first.role == "system" => first.content = format!("{}\n\n{words}", first.content),
        _ => messages.insert(0, Message { role: "system".to_owned(), content: words, ..Message::default() }),
    }
}

fn in_text(message: &Message) -> Message {
    match message.role.as_str() {
        "tool" => Message { role: "user".to_owned(), content: result(message), ..Message::default() },
        _ => {
            let calls: Json = serde_json::from_str(&message.tool_calls_json).unwrap_or_default();
            let content = calls
                .as_array()
                .into_iter()
                .flatten()
                .map(call)
                .fold(message.content.clone(), |text, call| joined(&text, &call));
            Message { content, tool_calls_json: String::new(), ..message.clone() }
        }
    }
}

fn joined(text: &str, more: &str) -> String {
    if text.is_empty() { more.to_owned() } else { format!("{text}\n{more}") }
}

fn result(message: &Message) -> String {
    format!("<tool_response>\n{}\n</tool_response>", message.content)
}

/// A call as the model would have written it: OpenAI's `arguments` are JSON inside a string.
fn call(call: &Json) -> String {
    let function = &call["function"];
    let arguments = match function["arguments"].as_str() {
        Some(text) => serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned())),
        None => function["arguments"].clone(),
    };
    let written = python_json(&json!({ "name": function["name"], "arguments": arguments }));
    format!("<tool_call>\n{written}\n</tool_call>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::tests::message;

    fn tools() -> Json {
        json!([{ "type": "function", "function": { "name": "weather" } }])
    }

    #[test]
    fn tools_are_told_behind_what_the_system_says() {
        for messages in [vec![message("user", "Hi")], vec![message("system", "Be kind."), message("user", "Hi")]] {
            let told = in_words(&messages, &tools());
            assert_eq!((told.len(), told[0].role.as_str()), (2, "system"));
            assert!(told[0].content.contains("{\"type\": \"function\", \"function\": {\"name\": \"weather\"}}"));
            assert_eq!(told[0].content.starts_with("Be kind."), messages.len() == 2);
            assert_eq!(told[1].content, "Hi");
        }
    }

    #[test]
    fn calls_and_results_become_texts() {
        let mut asked = message("assistant", "");
        asked.tool_calls_json = r#"[{"function":{"name":"weather","arguments":"{\"city\":\"Bern\"}"}}]"#.to_owned();
        let messages = [message("user", "Hi"), asked, message("tool", "rain"), message("tool", "wind")];
        let told = in_words(&messages, &Json::Null);
        assert_eq!(told.iter().map(|message| message.role.as_str()).collect::<Vec<_>>(), ["user", "assistant", "user"]);
        assert_eq!(
            told[1].content,
            "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}}\n</tool_call>"
        );
        assert!(told[1].tool_calls_json.is_empty());
        let results = "<tool_response>\nrain\n</tool_response>\n<tool_response>\nwind\n</tool_response>";
        assert_eq!(told[2].content, results);
    }

    #[test]
    fn a_conversation_without_tools_stays_as_it_is() {
        let messages = [message("system", "S"), message("user", "U"), message("assistant", "A")];
        assert_eq!(in_words(&messages, &Json::Null), messages);
    }
}
