//! Validation of the head of a request, more strictly than hyper does it.
//!
//! A proxy and the server behind it must never differ on where a request ends, or one of them sees a request that the other
//! does not (request smuggling, RFC 9112 section 11.2). So a head that can be read in two ways is rejected, and the connection
//! is closed. hyper itself rejects a bad method, control characters, a line without a colon or with a blank before it, and a
//! folded line.
//!
//! | rejected | status |
//! |---|---|
//! | Content-Length twice, also with the same value, or not digits alone; Transfer-Encoding twice, or other than `chunked`, or beside Content-Length, or in HTTP/1.0 | 400 |
//! | a line that ends without CR; a folded line; a blank before the colon; a line without a colon; control characters | 400 |
//! | HTTP/1.1 without Host; Host twice | 400 |
//! | a target that does not begin with `/`, or has a fragment; another version than 1.0 and 1.1; other blanks than one between the three words; an empty line before them | 400 |
//! | a request line over 8 KiB | 414 |
//! | a head over 32 KiB, or of more than 100 headers | 431 |
//! | a chunk with an extension, a size of more than 8 digits, or a trailer: the body ends there | 400, SerializationException |
//!
//! POST without a length has an empty body. A client that is still sending when it is rejected is read for a while, and its
//! bytes discarded, for a connection that is reset loses its last answer.

use memchr::memchr;

/// Longest head, in bytes.
pub(in crate::server) const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Longest request line, in bytes.
const MAX_REQUEST_LINE_BYTES: usize = 8 * 1024;
/// The most headers.
const MAX_HEADERS: usize = 100;

/// Defines the reasons of rejections: the name of each in metrics, and its HTTP status.
macro_rules! rejections {
    ($($(#[$meta:meta])* $variant:ident => $name:literal $status:literal;)+) => {
        /// The reason why a request is not read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::server) enum Rejection { $($(#[$meta])* $variant),+ }

        impl Rejection {
            /// Its name in metrics.
            pub(in crate::server) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The HTTP status of the answer.
            pub(in crate::server) const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }
        }
    };
}

rejections! {
    /// Not `METHOD /PATH HTTP/1.1` or `HTTP/1.0`: another form of target, a fragment, another version, another blank.
    RequestLine => "request_line" 400;
    /// A request line longer than 8 KiB.
    LongRequestLine => "long_request_line" 414;
    /// A head longer than 32 KiB, or of more than a hundred headers.
    LongHead => "long_head" 431;
    /// A line that ends with LF and no CR before it.
    BareLf => "bare_lf" 400;
    /// HTTP/1.1 without Host, or Host twice.
    Host => "host" 400;
    /// Content-Length twice, even with the same value, or one that is no number.
    ContentLength => "content_length" 400;
    /// Transfer-Encoding twice, or any but `chunked`, or beside Content-Length, or in HTTP/1.0.
    TransferEncoding => "transfer_encoding" 400;
}

/// How the end of the body is found (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// The body has so many bytes.
    Length(u64),
    /// The body is in chunks, and ends with one of length 0.
    Chunked,
}

/// Reads the head that `bytes` begin with: its length, and the framing of the body behind it. `None` as long as the head is not
/// complete.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(usize, Framing)>, Rejection> {
    let mut head = Head::default();
    let mut at = 0;
    while let Some(line) = next_line(bytes, at)? {
        at += line.len() + 2;
        if at > MAX_HEAD_BYTES {
            return Err(Rejection::LongHead);
        }
        if line.is_empty() && head.lines > 0 {
            return head.framing().map(|framing| Some((at, framing)));
        }
        head.take(line)?;
    }
    if bytes.len() - at > MAX_REQUEST_LINE_BYTES && head.lines == 0 {
        return Err(Rejection::LongRequestLine);
    }
    if bytes.len() > MAX_HEAD_BYTES { Err(Rejection::LongHead) } else { Ok(None) }
}

/// The line that begins at `at`, without CRLF; `None` as long as it is not complete.
fn next_line(bytes: &[u8], at: usize) -> Result<Option<&[u8]>, Rejection> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(end) = memchr(b'\n', rest) else { return Ok(None) };
    match rest.split_at(end).0.split_last() {
        Some((b'\r', line)) => Ok(Some(line)),
        _ => Err(Rejection::BareLf),
    }
}

/// The facts that the lines of a head have given so far.
#[derive(Default)]
struct Head {
    lines: usize,
    is_http_1_1: bool,
    hosts: usize,
    length: Option<u64>,
    is_chunked: bool,
}

impl Head {
    fn take(&mut self, line: &[u8]) -> Result<(), Rejection> {
        self.lines += 1;
        match self.lines {
            1 => self.take_request_line(line),
            lines if lines > MAX_HEADERS + 1 => Err(Rejection::LongHead),
            _ => self.take_header(line),
        }
    }

    fn take_request_line(&mut self, line: &[u8]) -> Result<(), Rejection> {
        if line.len() > MAX_REQUEST_LINE_BYTES {
            return Err(Rejection::LongRequestLine);
        }
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(_), Some([b'/', path @ ..]), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Rejection::RequestLine);
        };
        self.is_http_1_1 = version == b"HTTP/1.1";
        let is_plain = !path.contains(&b'#') && (self.is_http_1_1 || version == b"HTTP/1.0");
        if is_plain { Ok(()) } else { Err(Rejection::RequestLine) }
    }

    /// Looks at the headers that say where a request ends and whom it is for. All else is left to hyper.
    fn take_header(&mut self, line: &[u8]) -> Result<(), Rejection> {
        if value_of("host", line).is_some() {
            self.hosts += 1;
        } else if let Some(value) = value_of("content-length", line) {
            self.take_length(value)?;
        } else if let Some(value) = value_of("transfer-encoding", line) {
            self.take_encoding(value)?;
        }
        Ok(())
    }

    fn take_length(&mut self, value: &[u8]) -> Result<(), Rejection> {
        let digits = str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits.and_then(|digits| digits.parse().ok()).ok_or(Rejection::ContentLength)?;
        if self.length.replace(length).is_none() { Ok(()) } else { Err(Rejection::ContentLength) }
    }

    fn take_encoding(&mut self, value: &[u8]) -> Result<(), Rejection> {
        let is_first = !std::mem::replace(&mut self.is_chunked, true);
        if is_first && value.eq_ignore_ascii_case(b"chunked") { Ok(()) } else { Err(Rejection::TransferEncoding) }
    }

    fn framing(&self) -> Result<Framing, Rejection> {
        if self.hosts > 1 || self.is_http_1_1 && self.hosts == 0 {
            return Err(Rejection::Host);
        }
        match (self.is_chunked, self.length) {
            (true, None) if self.is_http_1_1 => Ok(Framing::Chunked),
            (true, _) => Err(Rejection::TransferEncoding),
            (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

/// The value of the header in `line`, if it has this name.
fn value_of<'a>(name: &str, line: &'a [u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
}

/// Reads the line before a chunk: the length of the line, and that of the chunk. `None` as long as the line is not complete. Chunk
/// extensions are rejected: no client of the API sends any, and readers differ on them.
pub(super) fn read_chunk_size(bytes: &[u8]) -> Result<Option<(usize, u64)>, Rejection> {
    /// More digits than the longest body needs.
    const MAX_DIGITS: usize = 8;
    let Some(line) = next_line(bytes, 0)? else {
        return if bytes.len() > MAX_DIGITS + 1 { Err(Rejection::TransferEncoding) } else { Ok(None) };
    };
    let digits = str::from_utf8(line).ok();
    let digits = digits.filter(|text| text.len() <= MAX_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let size = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    size.map(|size| Some((line.len() + 2, size))).ok_or(Rejection::TransferEncoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "POST / HTTP/1.1\r\n";

    #[track_caller]
    fn check(head: &str, expected: Result<Framing, Rejection>) {
        let head = head.replace('\n', "\r\n").replace("\\n", "\n");
        let read_of = |length: usize| read(&head.as_bytes()[..length]);
        assert_eq!(read_of(head.len()), expected.map(|framing| Some((head.len(), framing))), "{head:?}");
        // What comes piece by piece is not judged otherwise, and nothing is passed before its end.
        for length in 0..head.len() {
            assert!(
                matches!(read_of(length), Ok(None)) || read_of(length) == expected.map(|_| None),
                "{head:?} {length}"
            );
        }
        let followed = [head.as_bytes(), b"GET / HTTP/1.1\n\n"].concat();
        assert_eq!(read(&followed), expected.map(|framing| Some((head.len(), framing))));
    }

    #[test]
    fn what_is_read() {
        check("GET / HTTP/1.1\nhost: a\n\n", Ok(Framing::Length(0)));
        check("POST /kms/?a=b HTTP/1.1\nHOST:a\nContent-Length:  17 \n\n", Ok(Framing::Length(17)));
        check("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: Chunked\n\n", Ok(Framing::Chunked));
        check("POST / HTTP/1.0\nContent-Length: 0\n\n", Ok(Framing::Length(0)));
        check("POST / HTTP/1.1\nHost:\nX-Content-Length: 5\n\n", Ok(Framing::Length(0)));
    }

    #[test]
    fn what_is_rejected() {
        use Rejection as No;
        for (head, why) in [
            ("\n\n", No::RequestLine),
            ("GET / HTTP/1.1 \nHost: a\n\n", No::RequestLine),
            ("GET  / HTTP/1.1\nHost: a\n\n", No::RequestLine),
            ("GET /\nHost: a\n\n", No::RequestLine),
            ("GET http://a/ HTTP/1.1\nHost: a\n\n", No::RequestLine),
            ("OPTIONS * HTTP/1.1\nHost: a\n\n", No::RequestLine),
            ("CONNECT a:80 HTTP/1.1\nHost: a\n\n", No::RequestLine),
            ("GET /#a HTTP/1.1\nHost: a\n\n", No::RequestLine),
            ("PRI * HTTP/2.0\n\n", No::RequestLine),
            ("GET / HTTP/1.2\nHost: a\n\n", No::RequestLine),
            ("GET / http/1.1\nHost: a\n\n", No::RequestLine),
            ("GET / HTTP/1.1\n\n", No::Host),
            ("GET / HTTP/1.1\nHost: a\nhost: a\n\n", No::Host),
            ("GET / HTTP/1.0\nHost: a\nhost: a\n\n", No::Host),
            ("POST / HTTP/1.1\nHost: a\nContent-Length: 5\nContent-Length: 5\n\n", No::ContentLength),
            ("POST / HTTP/1.1\nHost: a\nContent-Length: 5, 5\n\n", No::ContentLength),
            ("POST / HTTP/1.1\nHost: a\nContent-Length: +5\n\n", No::ContentLength),
            ("POST / HTTP/1.1\nHost: a\nContent-Length:\n\n", No::ContentLength),
            ("POST / HTTP/1.1\nHost: a\nContent-Length: 99999999999999999999\n\n", No::ContentLength),
            ("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip, chunked\n\n", No::TransferEncoding),
            ("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: identity\n\n", No::TransferEncoding),
            (
                "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n",
                No::TransferEncoding,
            ),
            ("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nContent-Length: 5\n\n", No::TransferEncoding),
            ("POST / HTTP/1.1\nHost: a\nContent-Length: 5\nTransfer-Encoding: chunked\n\n", No::TransferEncoding),
            ("POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n", No::TransferEncoding),
            ("GET / HTTP/1.1\\nHost: a\n\n", No::BareLf),
            ("GET / HTTP/1.1\nHost: a\\n\n", No::BareLf),
            ("GET / HTTP/1.1\nHost: a\n\\n", No::BareLf),
        ] {
            let head = head.replace('\n', "\r\n").replace("\\n", "\n");
            assert_eq!(read(head.as_bytes()), Err(why), "{head:?}");
        }
    }

    #[test]
    fn what_is_too_long() {
        let line = |length: usize| format!("GET /{} HTTP/1.1\r\n", "x".repeat(length - 14));
        let headers = |count: usize| format!("{LINE}{}Host: a\r\n\r\n", "X: y\r\n".repeat(count - 1));
        let head = |length: usize| format!("{LINE}Host: a\r\nX: {}\r\n\r\n", "y".repeat(length - LINE.len() - 16));
        assert_eq!(head(MAX_HEAD_BYTES).len(), MAX_HEAD_BYTES);
        for (fits, longer, why) in [
            (line(8192) + "Host: a\r\n\r\n", line(8193), Rejection::LongRequestLine),
            (headers(100), headers(101), Rejection::LongHead),
            (head(MAX_HEAD_BYTES), head(MAX_HEAD_BYTES + 1), Rejection::LongHead),
        ] {
            assert!(matches!(read(fits.as_bytes()), Ok(Some(_))), "{why:?}");
            assert_eq!(read(longer.as_bytes()), Err(why));
        }
        assert_eq!(read(&[b'x'; 8193]), Err(Rejection::LongRequestLine));
        assert_eq!(read(&[LINE.as_bytes(), &[b'x'; MAX_HEAD_BYTES]].concat()), Err(Rejection::LongHead));
    }

    #[test]
    fn sizes_of_chunks() {
        for (line, expected) in [
            ("1f\r\nrest", Ok(Some((4, 31)))),
            ("0\r\n\r\n", Ok(Some((3, 0)))),
            ("FFFFFFFF\r", Ok(None)),
            ("", Ok(None)),
            ("FFFFFFFFF\r\n", Err(Rejection::TransferEncoding)),
            ("ffffffffff", Err(Rejection::TransferEncoding)),
            ("5;a=b\r\n", Err(Rejection::TransferEncoding)),
            ("5 \r\n", Err(Rejection::TransferEncoding)),
            ("+5\r\n", Err(Rejection::TransferEncoding)),
            ("\r\n", Err(Rejection::TransferEncoding)),
            ("5\n", Err(Rejection::BareLf)),
        ] {
            assert_eq!(read_chunk_size(line.as_bytes()), expected, "{line:?}");
        }
    }
}
