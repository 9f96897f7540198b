//! Frames: what stands before a request or response on the socket.
//!
//! `length: int32` · header · body. The length does not count itself. Reading the length off the socket, and
//! the limit on it, are the shell's.

use bytes::Bytes;

use crate::messages::{ApiKey, Message, Request};
use crate::wire::{Frame, Reader, WireError, Writer};

/// The header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    pub api: ApiKey,
    /// Version of the body. Not checked here: an unknown version of ApiVersions is answered, not refused.
    pub version: i16,
    pub correlation_id: i32,
    /// Null in many hand-made clients; absent in ControlledShutdown 0.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads the header and leaves the reader at the body.
    ///
    /// An unknown API is an error even though its header could be read: nothing can be answered to it,
    /// and the original closes the connection.
    pub fn decode(r: &mut Reader) -> Result<Self, WireError> {
        let api = ApiKey::try_from(r.i16()?)?;
        let version = r.i16()?;
        let correlation_id = r.i32()?;
        let header_version = api.request_header_version(version);
        let client_id = match header_version {
            0 => None,
            // Never compact, so that old brokers can read it.
            _ => r.opt_string(false, true)?,
        };
        if header_version >= 2 {
            r.skip_tags()?;
        }
        Ok(Self { api, version, correlation_id, client_id })
    }

    /// Writes the header, without the frame's length.
    pub fn encode(&self, w: &mut Writer) -> Result<(), WireError> {
        w.i16(self.api.code());
        w.i16(self.version);
        w.i32(self.correlation_id);
        let header_version = self.api.request_header_version(self.version);
        if header_version >= 1 {
            w.opt_string(self.client_id.as_deref(), false, true)?;
        }
        if header_version >= 2 {
            w.no_tags();
        }
        Ok(())
    }
}

/// A request frame with its length, ready to send.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Frame, WireError> {
    let header =
        RequestHeader { api: R::API, version, correlation_id, client_id: client_id.map(str::to_owned) };
    let mut w = Writer::with_capacity(128);
    w.i32(0);
    header.encode(&mut w)?;
    request.encode(&mut w, version)?;
    w.finish_frame()
}

/// A response frame with its length, ready to send. `version` is the body's version, which is the request's
/// except where an unknown ApiVersions version is answered with version 0.
pub fn encode_response<M: Message>(
    response: &M,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<Frame, WireError> {
    let mut w = Writer::with_capacity(256);
    w.i32(0);
    encode_response_header(&mut w, api, version, correlation_id);
    response.encode(&mut w, version)?;
    w.finish_frame()
}

/// Writes the header of a response.
pub fn encode_response_header(w: &mut Writer, api: ApiKey, version: i16, correlation_id: i32) {
    w.i32(correlation_id);
    if api.response_header_version(version) >= 1 {
        w.no_tags();
    }
}

/// The correlation id of a response, before anything else is known about it.
pub fn response_correlation_id(frame: &[u8]) -> Option<i32> {
    let head: [u8; 4] = frame.get(..4)?.try_into().ok()?;
    Some(i32::from_be_bytes(head))
}

/// Reads a response frame (without its length) to the request `R` sent in `version`.
pub fn decode_response<R: Request>(frame: Bytes, version: i16) -> Result<(i32, R::Response), WireError> {
    let mut r = Reader::new(frame);
    let correlation_id = r.i32()?;
    if R::API.response_header_version(version) >= 1 {
        r.skip_tags()?;
    }
    Ok((correlation_id, R::Response::decode(&mut r, version)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
    use crate::messages::controlled_shutdown::ControlledShutdownRequest;
    use crate::messages::heartbeat::HeartbeatRequest;

    fn body(frame: Frame) -> Bytes {
        let bytes = frame.to_bytes().unwrap();
        let len = i32::from_be_bytes(bytes[..4].try_into().unwrap());
        assert_eq!(len as usize, bytes.len() - 4);
        bytes.slice(4..)
    }

    /// Each header version is read back as it was written.
    #[test]
    fn request_headers_round_trip() {
        let check = |frame: Frame, header_len: usize, client: Option<&str>| {
            let mut r = Reader::new(body(frame));
            let header = RequestHeader::decode(&mut r).unwrap();
            assert_eq!(r.position(), header_len);
            assert_eq!(header.client_id.as_deref(), client);
            assert_eq!(header.correlation_id, 7);
        };
        let shutdown = ControlledShutdownRequest::default();
        check(encode_request(&shutdown, 0, 7, Some("x")).unwrap(), 8, None);
        check(encode_request(&shutdown, 2, 7, Some("x")).unwrap(), 11, Some("x"));
        let beat = HeartbeatRequest::default();
        check(encode_request(&beat, 4, 7, None).unwrap(), 11, None);
    }

    /// An ApiVersions request of a version from the future still yields its header (KIP-511).
    #[test]
    fn future_api_versions_has_a_header() {
        let frame = Bytes::from_static(&[0, 18, 0, 99, 0, 0, 0, 5, 0, 1, b'c', 0, 9, 9]);
        let mut r = Reader::new(frame);
        let header = RequestHeader::decode(&mut r).unwrap();
        assert_eq!((header.version, header.correlation_id), (99, 5));
        assert!(matches!(
            ApiVersionsRequest::decode(&mut r, header.version),
            Err(WireError::UnsupportedVersion { version: 99, .. })
        ));
    }

    /// A flexible ApiVersions response has no tags in its header.
    #[test]
    fn api_versions_response_header() {
        let response = ApiVersionsResponse::default();
        let frame = encode_response(&response, ApiKey::ApiVersions, 3, 5).unwrap();
        let (id, back) = decode_response::<ApiVersionsRequest>(body(frame), 3).unwrap();
        assert_eq!((id, back), (5, response));
    }
}
