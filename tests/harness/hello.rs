//! TLS records written by hand: a ClientHello as no library would send it.

/// The record type of handshakes, and of alerts.
const HANDSHAKE: u8 = 22;
/// An ordinary suite of TLS 1.2, and one of TLS 1.3.
pub const SOUND_SUITES: [u16; 2] = [0xc02b, 0x1301];

/// A ClientHello under construction, of TLS 1.2, which every server of today can answer.
pub struct Hello {
    suites: Vec<u16>,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    /// With suites, curves and signatures that any server takes, and no name.
    pub fn sound() -> Hello {
        Hello::of(&SOUND_SUITES)
    }

    /// With these suites.
    pub fn of(suites: &[u16]) -> Hello {
        let extensions = vec![
            (10, prefixed(&[0, 23, 0, 29])),                       // secp256r1, x25519
            (11, vec![1, 0]),                                      // uncompressed points
            (13, prefixed(&[4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1])), // ECDSA and RSA with SHA-256 and SHA-384
            (23, Vec::new()),                                      // extended master secret
        ];
        Hello { suites: suites.to_vec(), extensions }
    }

    /// Adds an extension.
    pub fn extension(mut self, kind: u16, body: impl Into<Vec<u8>>) -> Hello {
        self.extensions.push((kind, body.into()));
        self
    }

    /// Asks for these names, in one list.
    pub fn names(self, names: &[&[u8]]) -> Hello {
        let list: Vec<u8> = names.iter().flat_map(|name| [&[0][..], &prefixed(name)].concat()).collect();
        self.extension(0, prefixed(&list))
    }

    /// The handshake message.
    pub fn message(&self) -> Vec<u8> {
        let suites: Vec<u8> = self.suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        let extensions: Vec<u8> = self
            .extensions
            .iter()
            .flat_map(|(kind, body)| [&kind.to_be_bytes()[..], &prefixed(body)].concat())
            .collect();
        let body =
            [&[3, 3][..], &[7; 32], &[0], &prefixed(&suites), &[1, 0], &prefixed(&extensions)].concat();
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1], &length[1..], &body].concat()
    }

    /// The message in records of at most this many bytes each.
    pub fn records(&self, most: usize) -> Vec<u8> {
        self.message().chunks(most).flat_map(|part| record(HANDSHAKE, part)).collect()
    }
}

/// One record.
pub fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &prefixed(body)].concat()
}

fn prefixed(body: &[u8]) -> Vec<u8> {
    [&u16::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}
