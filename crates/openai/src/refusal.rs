//! What a server says when something is wrong, in the several forms that servers say it in.

use serde_json::Value;

/// Its words, and its code where it has one.
#[derive(Debug, PartialEq)]
pub(crate) struct Refusal {
    pub message: String,
    pub code: Option<String>,
    /// A status within the answer, as llama.cpp and gateways give it.
    pub status: Option<u16>,
}

impl Refusal {
    /// From an answer's body, JSON or not.
    pub(crate) fn from_body(body: &[u8]) -> Self {
        let text = || String::from_utf8_lossy(body).trim().to_owned();
        match serde_json::from_slice::<Value>(body) {
            // vLLM has had its error at the top level, FastAPI says `detail`.
            Ok(body) => Self::from_error(body.get("error").unwrap_or(&body)),
            Err(_) if text().is_empty() => Self::said("no explanation"),
            Err(_) => Self::said(text()),
        }
    }

    /// From the value of `error`.
    pub(crate) fn from_error(error: &Value) -> Self {
        let message = error.get("message").or(error.get("detail")).unwrap_or(error);
        let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
        let code = [error.get("code"), error.get("type")].into_iter().flatten();
        let code = code.filter_map(Value::as_str).next().map(str::to_owned);
        let status = error.get("code").and_then(Value::as_u64);
        let status =
            status.filter(|status| (400..600).contains(status)).map(|status| status as u16);
        let status = status.or_else(|| code.as_deref().and_then(status_of));
        Self { message, code, status }
    }

    fn said(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: None, status: None }
    }
}

/// The status that goes with a code, for errors that come without one, within an answer of status 200: a number in
/// quotes, or one of the words that OpenAI, vLLM, llama.cpp and gateways have.
fn status_of(code: &str) -> Option<u16> {
    let number = code.parse::<u16>().ok().filter(|status| (400..600).contains(status));
    number.or(match code {
        "context_length_exceeded" | "exceed_context_size_error" => Some(400),
        "invalid_api_key" | "authentication_error" => Some(401),
        "model_not_found" | "not_found_error" => Some(404),
        "timeout" | "timeout_error" | "request_timeout" => Some(408),
        "rate_limit_exceeded" | "rate_limit_error" | "insufficient_quota" => Some(429),
        "server_error" | "internal_error" | "internal_server_error" | "api_error" => Some(500),
        "service_unavailable" | "unavailable_error" => Some(503),
        "overloaded" | "overloaded_error" => Some(529),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_error_is_read() {
        for (body, message, code, status) in [
            (
                r#"{"error":{"message":"no quota","type":"t","code":"insufficient_quota"}}"#,
                "no quota",
                Some("insufficient_quota"),
                Some(429),
            ),
            (
                r#"{"error":{"message":"slower","code":"rate_limit_exceeded"}}"#,
                "slower",
                Some("rate_limit_exceeded"),
                Some(429),
            ),
            (r#"{"error":{"message":"away","code":"502"}}"#, "away", Some("502"), Some(502)),
            (
                r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
                "Loading model",
                Some("unavailable_error"),
                Some(503),
            ),
            (r#"{"object":"error","message":"too long","code":400}"#, "too long", None, Some(400)),
            (r#"{"detail":"Not Found"}"#, "Not Found", None, None),
            (r#"{"detail":[{"msg":"bad"}]}"#, r#"[{"msg":"bad"}]"#, None, None),
            (r#"{"error":"model not found"}"#, "model not found", None, None),
            ("Bad Gateway\n", "Bad Gateway", None, None),
            ("", "no explanation", None, None),
        ] {
            let code = code.map(str::to_owned);
            let expected = Refusal { message: message.to_owned(), code, status };
            assert_eq!(Refusal::from_body(body.as_bytes()), expected, "{body}");
        }
    }
}
