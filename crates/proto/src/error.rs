//! Errors between services: a closed set of codes, and what a caller needs to go on, carried in
//! gRPC's standard details so that clients in any language read them.

use crate::DecodeError;
use std::fmt;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// What kind of error it is, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request says something senseless; to send it again is pointless.
    Invalid,
    /// What the request names is not there.
    NotFound,
    /// It is there already, and differs.
    AlreadyExists,
    /// What the request names is in a state that does not allow it.
    WrongState,
    /// A queue or budget is full; worth another try after [`Error::retry_after`].
    Busy,
    /// The service starts, stops or cannot be reached; worth another try.
    Unavailable,
    /// The caller did not say who it is.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// The caller's deadline passed.
    DeadlineExceeded,
    /// The caller left.
    Cancelled,
    /// The peer does not know this call.
    Unimplemented,
    /// A fault of the service.
    Internal,
}

impl From<ErrorCode> for Code {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Invalid => Code::InvalidArgument,
            ErrorCode::NotFound => Code::NotFound,
            ErrorCode::AlreadyExists => Code::AlreadyExists,
            ErrorCode::WrongState => Code::FailedPrecondition,
            ErrorCode::Busy => Code::ResourceExhausted,
            ErrorCode::Unavailable => Code::Unavailable,
            ErrorCode::Unauthenticated => Code::Unauthenticated,
            ErrorCode::Forbidden => Code::PermissionDenied,
            ErrorCode::DeadlineExceeded => Code::DeadlineExceeded,
            ErrorCode::Cancelled => Code::Cancelled,
            ErrorCode::Unimplemented => Code::Unimplemented,
            ErrorCode::Internal => Code::Internal,
        }
    }
}

impl From<Code> for ErrorCode {
    /// Codes that our services never send come from libraries and proxies on the way.
    fn from(code: Code) -> Self {
        match code {
            // tonic's word for a message above its size limit.
            Code::InvalidArgument | Code::OutOfRange => Self::Invalid,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::AlreadyExists,
            Code::FailedPrecondition => Self::WrongState,
            Code::ResourceExhausted => Self::Busy,
            Code::Unavailable | Code::Aborted => Self::Unavailable,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::PermissionDenied => Self::Forbidden,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            Code::Cancelled => Self::Cancelled,
            Code::Unimplemented => Self::Unimplemented,
            // An error whose status is Ok is a fault as well.
            Code::Internal | Code::Unknown | Code::DataLoss | Code::Ok => Self::Internal,
        }
    }
}

/// An error of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what, where, and how to mend it.
    pub message: String,
    /// When another try is worth it.
    pub retry_after: Option<Duration>,
    /// All that is wrong with the request, field by field.
    pub violations: Vec<Violation>,
}

/// Something wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field: `job_toml.rl.batch_size`.
    pub field: String,
    /// What is wrong, and how to mend it.
    pub what: String,
}

impl Error {
    /// An error with nothing but its message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, violations: Vec::new() }
    }

    /// A request with these faults.
    pub fn invalid(message: impl Into<String>, violations: Vec<Violation>) -> Self {
        Self { violations, ..Self::new(ErrorCode::Invalid, message) }
    }

    /// A service with no room for now.
    pub fn busy(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(ErrorCode::Busy, message) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for Violation { field, what } in &self.violations {
            write!(f, "\n  {field}: {what}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        let message = format!("the request is invalid: {error}");
        Self::invalid(message, vec![Violation { field: error.path, what: error.what }])
    }
}

// A status travels in the response's headers, of which HTTP/2 peers take 16 KiB by default. These
// limits hold it to 11 KiB where every byte of the message is percent-encoded.
const MESSAGE_BYTES: usize = 1024;
const FIELD_BYTES: usize = 256;
const WHAT_BYTES: usize = 512;
const VIOLATIONS_BYTES: usize = 4096;
/// Tags and lengths of one encoded violation.
const VIOLATION_OVERHEAD_BYTES: usize = 16;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut details = ErrorDetails::new();
        if error.retry_after.is_some() {
            details.set_retry_info(error.retry_after);
        }
        if !error.violations.is_empty() {
            details.set_bad_request(fitting(&error.violations));
        }
        let message = shortened(&error.message, MESSAGE_BYTES);
        Status::with_error_details(error.code.into(), message, details)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|b| b.field_violations.as_slice());
        let violation =
            |v: &FieldViolation| Violation { field: v.field.clone(), what: v.description.clone() };
        Self {
            code: status.code().into(),
            message: status.message().to_owned(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
            violations: violations.unwrap_or_default().iter().map(violation).collect(),
        }
    }
}

/// As many violations as fit a status, and how many were left out.
fn fitting(violations: &[Violation]) -> Vec<FieldViolation> {
    let (mut kept, mut room) = (Vec::new(), VIOLATIONS_BYTES);
    for violation in violations {
        let field = shortened(&violation.field, FIELD_BYTES);
        let what = shortened(&violation.what, WHAT_BYTES);
        let needed = field.len() + what.len() + VIOLATION_OVERHEAD_BYTES;
        if needed > room {
            let left_out = violations.len() - kept.len();
            kept.push(FieldViolation::new("", format!("and {left_out} more")));
            break;
        }
        room -= needed;
        kept.push(FieldViolation::new(field, what));
    }
    kept
}

/// `text`, or its beginning with an ellipsis: at most `max_bytes`.
fn shortened(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max_bytes - '…'.len_utf8());
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Through the headers of a response, as between two machines; and their size by HTTP/2's count.
    fn sent(error: Error) -> (Error, usize) {
        let response = Status::from(error).into_http::<()>();
        let headers = response.headers();
        let size = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32);
        let status = Status::from_header_map(headers).expect("the headers hold a status");
        (status.into(), size.sum())
    }

    #[test]
    fn every_code_comes_back_as_itself() {
        use ErrorCode::*;
        for code in [
            Invalid,
            NotFound,
            AlreadyExists,
            WrongState,
            Busy,
            Unavailable,
            Unauthenticated,
            Forbidden,
            DeadlineExceeded,
            Cancelled,
            Unimplemented,
            Internal,
        ] {
            let error = Error::new(code, "job j-7: größer als erlaubt");
            assert_eq!(sent(error.clone()).0, error);
        }
    }

    #[test]
    fn a_client_reads_when_to_retry_and_all_violations_at_once() {
        let busy = Error::busy("the queue is full", Duration::from_millis(1_250));
        assert_eq!(sent(busy.clone()).0, busy);

        let violation =
            |field: &str, what: &str| Violation { field: field.into(), what: what.into() };
        let invalid = Error::invalid(
            "the job is invalid",
            vec![
                violation("job_toml.rl.batch_size", "must be at least 1"),
                violation("attachments[1].sha256", "is missing"),
            ],
        );
        assert_eq!(sent(invalid.clone()).0, invalid);
        let text = invalid.to_string();
        assert!(text.contains("batch_size: must") && text.contains("sha256: is"), "{text}");
    }

    #[test]
    fn an_error_of_any_size_fits_the_headers_of_a_response() {
        let violation = Violation { field: "ä".repeat(1_000), what: "ü".repeat(100_000) };
        let error = Error::invalid("ö".repeat(100_000), vec![violation; 1_000]);
        let (received, header_bytes) = sent(error);
        assert!(header_bytes < 12 * 1024, "{header_bytes} bytes of headers");
        assert!(received.message.ends_with("ö…"));
        let kept = received.violations.len() - 1;
        assert!(kept > 1);
        assert_eq!(received.violations[kept].what, format!("and {} more", 1_000 - kept));
    }

    #[test]
    fn what_is_wrong_with_a_message_is_a_violation_of_its_field() {
        let error = Error::from(DecodeError::new("pair.prompt", "is missing"));
        assert_eq!(error.code, ErrorCode::Invalid);
        assert_eq!(error.violations[0].field, "pair.prompt");
    }

    #[test]
    fn statuses_that_others_made_are_read() {
        let garbage = Status::with_details(Code::Unknown, "proxy", vec![0xff; 9].into());
        assert_eq!(Error::from(garbage), Error::new(ErrorCode::Internal, "proxy"));
        let large = Status::out_of_range("message length too large");
        assert_eq!(Error::from(large).code, ErrorCode::Invalid);
    }
}
