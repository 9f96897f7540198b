//! Names what most likely speaks when a port gets bytes that are no Kafka frame.

/// A guess from the first bytes of a refused frame, with what to do about it.
pub fn guess(start: &[u8]) -> Option<&'static str> {
    const HTTP: [&[u8]; 7] = [b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"DELE", b"CONN"];
    if HTTP.iter().any(|method| start.starts_with(method)) {
        return Some(
            "this is an HTTP request; a browser or health check reached the Kafka port, point it elsewhere or check with a TCP connect",
        );
    }
    // A TLS record: handshake (0x16), version 3.x.
    if start.len() >= 3 && start[0] == 0x16 && start[1] == 3 {
        return Some(
            "this is a TLS handshake on a PLAINTEXT listener; set security.protocol=PLAINTEXT in the client",
        );
    }
    if start.starts_with(b"SSH-") {
        return Some("this is an SSH client");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_recognised() {
        assert!(guess(b"GET / HT").expect("http").contains("HTTP"));
        assert!(guess(&[0x16, 3, 1, 2, 0, 1, 0, 1]).expect("tls").contains("TLS"));
        assert_eq!(guess(&[0xff; 8]), None);
    }
}
