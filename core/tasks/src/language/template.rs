//! Chat templates: Jinja as `transformers` runs it.

use minijinja::value::Kwargs;
use minijinja::{Environment, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};

use super::error::LanguageError;
use super::files::TokenizerFiles;
use super::strftime::strftime;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`; templates refuse what they do not know.
    pub role: String,
    /// Text.
    pub content: String,
}

/// The named special tokens that a template may print.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SpecialTokens {
    /// First token of a sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bos_token: Option<String>,
    /// End of a turn or sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eos_token: Option<String>,
    /// Unknown text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unk_token: Option<String>,
    /// Padding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad_token: Option<String>,
}

impl SpecialTokens {
    /// From `tokenizer_config.json`, then `special_tokens_map.json`.
    pub fn declared(files: &TokenizerFiles) -> SpecialTokens {
        let find = |key: &str| {
            [&files.tokenizer_config, &files.special_tokens_map].into_iter().flatten().find_map(|file| {
                let token = file.get(key)?;
                token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
            })
        };
        SpecialTokens {
            bos_token: find("bos_token"),
            eos_token: find("eos_token"),
            unk_token: find("unk_token"),
            pad_token: find("pad_token"),
        }
    }
}

/// A compiled template with the tokens it may print.
pub struct ChatTemplate {
    environment: Environment<'static>,
    tokens: SpecialTokens,
}

const NAME: &str = "chat_template";

impl ChatTemplate {
    /// The template that the files declare: `chat_template.jinja`, else `chat_template` of
    /// `tokenizer_config.json` (text, or a list with one named `default`). `clock` gives seconds
    /// since 1970 to templates that print a date.
    pub fn declared(
        files: &TokenizerFiles,
        clock: fn() -> i64,
    ) -> Result<Option<ChatTemplate>, LanguageError> {
        let in_config = files.tokenizer_config.as_ref().and_then(|c| c.get("chat_template"));
        let source = match (&files.chat_template, in_config) {
            (Some(source), _) => source.as_str(),
            (None, Some(serde_json::Value::String(source))) => source,
            (None, Some(serde_json::Value::Array(list))) => {
                let named = |t: &&serde_json::Value| t["name"] == "default";
                let Some(source) = list.iter().find(named).and_then(|t| t["template"].as_str()) else {
                    return Ok(None);
                };
                source
            }
            _ => return Ok(None),
        };
        ChatTemplate::new(source, SpecialTokens::declared(files), clock).map(Some)
    }

    /// Compiles a template.
    pub fn new(
        source: &str,
        tokens: SpecialTokens,
        clock: fn() -> i64,
    ) -> Result<ChatTemplate, LanguageError> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, _> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", move |format: &str| strftime(format, clock()));
        environment.add_filter("tojson", to_json);
        environment
            .add_template_owned(NAME, without_generation_tags(source))
            .map_err(|error| describe(&error))?;
        Ok(ChatTemplate { environment, tokens })
    }

    /// The prompt's text. With `reply`, up to where the assistant's answer starts.
    pub fn render(&self, messages: &[Message], reply: bool) -> Result<String, LanguageError> {
        let variables = context! {
            messages => messages,
            add_generation_prompt => reply,
            ..Value::from_serialize(&self.tokens)
        };
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(variables))
            .map_err(|error| describe(&error))
    }
}

/// Instructions a template may execute; a long conversation takes some 100 a message.
const FUEL: u64 = 20_000_000;

fn describe(error: &minijinja::Error) -> LanguageError {
    let reason = match error.detail() {
        Some(detail) if error.kind() == ErrorKind::InvalidOperation => detail.to_owned(),
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    LanguageError::Template { line: error.line(), reason }
}

/// `{% generation %}` marks the assistant's tokens for training; here it is always-true `if`.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let (before, tag) = (&rest[..start], &rest[start + 2..start + length]);
        out.push_str(before);
        out.push_str("{%");
        match tag.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+') {
            "generation" => out.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => out.push_str(&tag.replace("endgeneration", "endif")),
            _ => out.push_str(tag),
        }
        out.push_str("%}");
        rest = &rest[start + length + 2..];
    }
    out.push_str(rest);
    out
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=…)`.
fn to_json(value: Value, options: Kwargs) -> Result<Value, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    let bad =
        |error: serde_json::Error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string());
    let mut bytes = Vec::new();
    match indent {
        Some(width) => {
            let spaces = vec![b' '; width.min(16)];
            let formatter = serde_json::ser::PrettyFormatter::with_indent(&spaces);
            value
                .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
                .map_err(bad)?;
        }
        None => value
            .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, PythonSpacing))
            .map_err(bad)?,
    }
    Ok(Value::from_safe_string(String::from_utf8_lossy(&bytes).into_owned()))
}

/// `", "` and `": "` on one line.
struct PythonSpacing;

impl serde_json::ser::Formatter for PythonSpacing {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[(&'static str, &str)]) -> Result<String, LanguageError> {
        let tokens = SpecialTokens {
            bos_token: Some("<s>".into()),
            eos_token: Some("</s>".into()),
            ..Default::default()
        };
        let messages: Vec<Message> = messages
            .iter()
            .map(|(role, content)| Message { role: role.to_string(), content: content.to_string() })
            .collect();
        ChatTemplate::new(source, tokens, || 1_709_210_096)?.render(&messages, true)
    }

    #[test]
    fn python_idioms_of_published_templates_work() {
        for (source, expected) in [
            // Gemma: trim, role mapping, bos, loop arithmetic.
            (
                "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'assistant') %}\
                 {% set role = 'model' %}{% else %}{% set role = m['role'] %}{% endif %}\
                 {{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}\
                 {% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}",
                "<s><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\n",
            ),
            // Qwen 3: reversed slices, namespaces, string methods, loop controls.
            (
                "{%- set ns = namespace(last=0) %}{%- for m in messages[::-1] %}\
                 {%- set ns.last = (messages|length - 1) - loop.index0 %}{%- break %}{%- endfor %}\
                 {{- ns.last }}|{{ messages[0].content.strip().startswith('h') }}|\
                 {{- 'a</think>b'.split('</think>')[-1].lstrip('\n') }}|{{ messages[0].get('x') }}",
                "0|True|b|None",
            ),
            ("{{ strftime_now('%d %b %Y') }}|{{ undefined_name }}|", "29 Feb 2024||"),
            (
                "{{ {'a': [1, 'é<']} | tojson }}{% generation %}x{%- endgeneration -%} y",
                "{\"a\": [1, \"é<\"]}xy",
            ),
            ("{% if true %}\n  {% set x = 1 %}\na\n{% endif %}\n", "a\n"),
        ] {
            let found = render(source, &[("user", "hi ")]).unwrap();
            assert_eq!(found, expected, "{source}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        let error = render("a\nb\n{{ raise_exception('roles must alternate') }}", &[]);
        assert_eq!(error.unwrap_err().to_string(), "chat template (line 3): roles must alternate");
        let error = render("a\n{% for x in %}", &[]).unwrap_err().to_string();
        assert!(error.starts_with("chat template (line 2): "), "{error}");
        let error =
            render("{% for i in range(9000) %}{% for j in range(9000) %}{% endfor %}{% endfor %}", &[]);
        assert!(error.is_err());
    }

    #[test]
    fn templates_are_found_where_they_are_declared() {
        let clock = || 0;
        let mut files = TokenizerFiles::default();
        assert!(ChatTemplate::declared(&files, clock).unwrap().is_none());
        files.tokenizer_config = Some(serde_json::json!({
            "bos_token": {"content": "<b>"}, "eos_token": "<e>",
            "chat_template": [{"name": "tool", "template": "T"},
                              {"name": "default", "template": "{{ bos_token }}{{ eos_token }}"}]
        }));
        let text = |files: &_| ChatTemplate::declared(files, clock).unwrap().unwrap().render(&[], true);
        assert_eq!(text(&files).unwrap(), "<b><e>");
        files.chat_template = Some("J".into());
        assert_eq!(text(&files).unwrap(), "J");
    }
}
