//! One listening address that can go dark and come back.
//!
//! A dark door refuses connections, as a region that is gone does, yet keeps its port: a socket that is
//! bound and does not listen holds it, so no other program can take the port meanwhile.
//!
//! Never: leaves a connection behind. Every one of them is a task of its door, and ends with it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::LabError;

/// What is done with each connection.
pub(super) type Serve = Arc<dyn Fn(TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// How long to leave a machine alone that is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// An address that is taken, and not listening yet.
pub(super) struct Bound {
    socket: TcpSocket,
    pub(super) address: SocketAddr,
}

impl Bound {
    /// Takes `wanted`; port 0 takes any free one.
    pub(super) fn take(wanted: SocketAddr) -> Result<Bound, LabError> {
        let failed = |cause| LabError::Listen { address: wanted, cause };
        let socket = if wanted.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(failed)?;
        socket.set_reuseaddr(true).map_err(failed)?;
        socket.set_reuseport(true).map_err(failed)?; // beside a door of ours that is about to close
        socket.bind(wanted).map_err(failed)?;
        socket.set_reuseaddr(false).map_err(failed)?; // until it listens: nobody else may have the port
        let address = socket.local_addr().map_err(failed)?;
        Ok(Bound { socket, address })
    }
}

pub(super) struct Door {
    address: SocketAddr,
    runtime: Handle,
    serve: Serve,
    tasks: JoinSet<()>,
    stop: Option<oneshot::Sender<()>>,
    reserved: Option<Bound>,
}

impl Door {
    /// Opens the door: connections are served on `runtime` from now on.
    pub(super) fn open(bound: Bound, runtime: Handle, serve: Serve) -> Result<Door, LabError> {
        let address = bound.address;
        let mut door =
            Door { address, runtime, serve, tasks: JoinSet::new(), stop: None, reserved: Some(bound) };
        door.come_back()?;
        Ok(door)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn is_open(&self) -> bool {
        self.stop.is_some()
    }

    /// Cuts every connection and stops listening; both are done when this returns.
    pub(super) async fn go_dark(&mut self) -> Result<(), LabError> {
        // Taken before the listener lets go: in between, the system would lend the port to an outgoing connection.
        if self.reserved.is_none() {
            self.reserved = Some(Bound::take(self.address)?);
        }
        self.shut().await;
        Ok(())
    }

    /// Listens again, on the same port.
    pub(super) fn come_back(&mut self) -> Result<(), LabError> {
        if self.is_open() {
            return Ok(());
        }
        let bound = match self.reserved.take() {
            Some(bound) => bound,
            None => Bound::take(self.address)?,
        };
        let _inside = self.runtime.enter();
        let failed = |cause| LabError::Listen { address: self.address, cause };
        bound.socket.set_reuseaddr(true).map_err(failed)?;
        let listener = bound.socket.listen(BACKLOG).map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        self.stop = Some(stop);
        self.tasks.spawn_on(accept(listener, Arc::clone(&self.serve), stopped), &self.runtime);
        Ok(())
    }

    /// Cuts every connection, stops listening and gives up the port.
    pub(super) async fn shut(&mut self) {
        self.stop = None;
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn accept(listener: TcpListener, serve: Serve, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            arrived = listener.accept() => match arrived {
                Ok((stream, _)) => { connections.spawn(serve(stream)); }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn greeter() -> Serve {
        Arc::new(|mut stream: TcpStream| {
            Box::pin(async move {
                let _ = stream.write_all(b"hello").await;
                let _ = stream.read(&mut [0]).await;
            })
        })
    }

    async fn greeted(address: SocketAddr) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(address).await?;
        let mut said = [0; 5];
        stream.read_exact(&mut said).await?;
        assert_eq!(&said, b"hello");
        Ok(stream)
    }

    fn anywhere() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[tokio::test]
    async fn a_dark_door_cuts_its_connections_refuses_new_ones_and_keeps_its_port() {
        let bound = Bound::take(anywhere()).unwrap();
        let mut door = Door::open(bound, Handle::current(), greeter()).unwrap();
        for _ in 0..3 {
            let mut held = greeted(door.address()).await.unwrap();
            door.go_dark().await.unwrap();
            assert!(matches!(held.read(&mut [0]).await, Ok(0) | Err(_)));
            let refused = TcpStream::connect(door.address()).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            assert!(std::net::TcpListener::bind(door.address()).is_err(), "the port is kept");
            door.come_back().unwrap();
        }
        greeted(door.address()).await.unwrap();
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_names_the_address() {
        let other = std::net::TcpListener::bind(anywhere()).unwrap();
        let address = other.local_addr().unwrap();
        let message = Bound::take(address).err().unwrap().to_string();
        assert_eq!(message, format!("cannot listen on {address}"));
    }
}
