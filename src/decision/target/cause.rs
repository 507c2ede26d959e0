//! Why the gate refuses a request: one closed list.

use crate::reason::Refusal;

/// Why a request head was refused.
///
/// [`code`](Self::code) is a bounded label for metrics and logs; [`refusal`](Self::refusal) is what
/// the client is told. A refused request ends its connection, whatever the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GateCause {
    /// The head ends before its blank line.
    Truncated,
    /// The request line is not method, space, target, space, version.
    RequestLine,
    /// The version is neither HTTP/1.1 nor HTTP/1.0.
    Version,
    /// The method is no token, or longer than any that exists.
    Method,
    /// TRACE or CONNECT, in any case.
    MethodForbidden,
    /// A carriage return without its line feed.
    BareCr,
    /// A line feed without its carriage return.
    BareLf,
    /// A control byte in a line.
    ControlByte,
    /// A field continued on the next line.
    ObsFold,
    /// White space between a field's name and its colon.
    SpaceBeforeColon,
    /// White space at an end of a field's value, in HTTP/2.
    FieldSpace,
    /// A field name that is empty or no token, or a line without a colon.
    FieldName,
    /// Both Content-Length and Transfer-Encoding.
    BothFramings,
    /// A Content-Length that is no plain decimal number of 64 bits.
    ContentLength,
    /// More than one Content-Length.
    RepeatedContentLength,
    /// A Transfer-Encoding that is anything but `chunked`.
    TransferEncoding,
    /// More than one Transfer-Encoding.
    RepeatedTransferEncoding,
    /// Transfer-Encoding in HTTP/1.0.
    OldTransferEncoding,
    /// A framing field spelled with `_` or `.` for `-`, which some services read as the real one.
    FramingAlias,
    /// No Host.
    HostMissing,
    /// More than one Host.
    HostRepeated,
    /// A Host, or an authority in the target, that is no name or address with an optional port.
    HostMalformed,
    /// The authority in the target is another than Host.
    HostMismatch,
    /// A target that is neither a path, nor absolute over http or https, nor `*` with OPTIONS.
    TargetForm,
    /// A byte in the target that is not visible ASCII, or that no URI has: `<`, `>`, a backquote in its path.
    TargetByte,
    /// A fragment in the target.
    Fragment,
    /// A percent escape in the path without two hexadecimal digits.
    PercentEscape,
    /// A percent escape in the target that spells a control byte.
    EncodedControl,
    /// Percent escapes in the path that are no UTF-8, or an overlong spelling of it.
    PathEncoding,
    /// A dot segment, in any spelling.
    DotSegment,
    /// An empty segment inside the path.
    EmptySegment,
    /// A percent escape in the path that spells a slash.
    EncodedSlash,
    /// A backslash in the path, plain or as a percent escape.
    Backslash,
    /// A connection option that is no token.
    NominationToken,
    /// More than nine connection options.
    NominationCount,
    /// A connection option that names a field which must reach the region.
    Nomination,
    /// The head is longer than `limits.header_bytes`.
    HeaderBytes,
    /// More fields than `limits.header_count`.
    HeaderCount,
    /// The target is longer than `limits.uri_bytes`.
    UriBytes,
    /// Content-Length is above `limits.body_bytes`.
    BodyBytes,
    /// A chunk's size that is not 1 to 16 hexadecimal digits.
    ChunkSize,
    /// A chunk whose data is not followed by CRLF.
    ChunkEnd,
    /// A chunked body that is mostly extensions.
    ChunkWaste,
}

impl GateCause {
    /// The stable code, lower case with underscores.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::RequestLine => "request_line",
            Self::Version => "version",
            Self::Method => "method",
            Self::MethodForbidden => "method_forbidden",
            Self::BareCr => "bare_cr",
            Self::BareLf => "bare_lf",
            Self::ControlByte => "control_byte",
            Self::ObsFold => "obs_fold",
            Self::SpaceBeforeColon => "space_before_colon",
            Self::FieldSpace => "field_space",
            Self::FieldName => "field_name",
            Self::BothFramings => "both_framings",
            Self::ContentLength => "content_length",
            Self::RepeatedContentLength => "repeated_content_length",
            Self::TransferEncoding => "transfer_encoding",
            Self::RepeatedTransferEncoding => "repeated_transfer_encoding",
            Self::OldTransferEncoding => "old_transfer_encoding",
            Self::FramingAlias => "framing_alias",
            Self::HostMissing => "host_missing",
            Self::HostRepeated => "host_repeated",
            Self::HostMalformed => "host_malformed",
            Self::HostMismatch => "host_mismatch",
            Self::TargetForm => "target_form",
            Self::TargetByte => "target_byte",
            Self::Fragment => "fragment",
            Self::PercentEscape => "percent_escape",
            Self::EncodedControl => "encoded_control",
            Self::PathEncoding => "path_encoding",
            Self::DotSegment => "dot_segment",
            Self::EmptySegment => "empty_segment",
            Self::EncodedSlash => "encoded_slash",
            Self::Backslash => "backslash",
            Self::NominationToken => "nomination_token",
            Self::NominationCount => "nomination_count",
            Self::Nomination => "nomination",
            Self::HeaderBytes => "header_bytes",
            Self::HeaderCount => "header_count",
            Self::UriBytes => "uri_bytes",
            Self::BodyBytes => "body_bytes",
            Self::ChunkSize => "chunk_size",
            Self::ChunkEnd => "chunk_end",
            Self::ChunkWaste => "chunk_waste",
        }
    }

    /// What the client is told.
    #[must_use]
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::MethodForbidden => Refusal::MethodNotAllowed,
            Self::HeaderBytes | Self::HeaderCount => Refusal::HeadTooLarge,
            Self::UriBytes => Refusal::UriTooLong,
            Self::BodyBytes => Refusal::BodyTooLarge,
            _ => Refusal::BadRequest,
        }
    }
}
