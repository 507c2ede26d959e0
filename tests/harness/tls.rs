//! TLS connections to an edge, with their handshake done.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

use super::wait::PATIENCE;
use super::wire::Wire;

/// A TLS connection to `address`, asking for `name`.
pub fn secured(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Result<Wire, std::io::Error> {
    Ok(session(address, name, config)?.0)
}

/// The same, and whether an earlier session was resumed.
pub fn session(
    address: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
) -> Result<(Wire, bool), std::io::Error> {
    let mut tcp = TcpStream::connect(address)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut tcp)?;
    }
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    Ok((Wire::over(StreamOwned::new(session, tcp)), resumed))
}
