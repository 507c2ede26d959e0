//! The line between an edge and a region: open, silent, or dead without a word.
//!
//! A relay on loopback stands in for the network, so that a black hole and a peer that vanished need no privileges.
//! New connections meet a full queue there, whose kernel drops their SYN as a blackhole route would; what is
//! established goes on to take bytes that never arrive.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::harness::{Place, eventually};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());

const BACKLOG: i32 = 1024;

/// How a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It carries what it is given.
    Open,
    /// Connections are taken by the other end's kernel, and nothing more happens on them: its process stands still.
    Frozen,
    /// Nothing gets through, and nobody says so: connections are not even taken.
    Black,
}

/// A line to one region.
pub struct Line {
    region: String,
    address: SocketAddr,
    listener: Arc<TcpListener>,
    state: watch::Sender<State>,
    /// Whether nothing is accepted now.
    rests: Arc<AtomicBool>,
    /// Connections of an earlier age have lost their other end for good.
    age: Arc<AtomicU64>,
    /// What fills the queue of a black line.
    fill: Vec<Socket>,
}

impl Line {
    /// A line to the first endpoint of `place`.
    pub fn to(place: &dyn Place) -> Line {
        let _inside = RUNTIME.enter();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(BACKLOG).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener = Arc::new(TcpListener::from_std(socket.into()).unwrap());
        let address = listener.local_addr().unwrap();
        let (state, is) = watch::channel(State::Open);
        let (rests, age) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let target = place.endpoints()[0];
        RUNTIME.spawn(accept(Arc::clone(&listener), target, is, Arc::clone(&rests), Arc::clone(&age)));
        Line { region: place.called(), address, listener, state, rests, age, fill: Vec::new() }
    }

    /// From now on it is so.
    pub fn becomes(&mut self, state: State) {
        let socket = SockRef::from(&*self.listener);
        self.state.send_replace(state);
        self.fill.clear();
        if state == State::Black {
            // Then the queue stays as full as it is made.
            eventually("the loop that accepts has stopped", || self.rests.load(Ordering::SeqCst));
            socket.listen(0).unwrap();
            for _ in 0..8 {
                let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                filler.set_nonblocking(true).unwrap();
                let _ = filler.connect(&self.address.into());
                self.fill.push(filler);
            }
        } else {
            socket.listen(BACKLOG).unwrap();
        }
    }

    /// The other end of every connection is gone, and did not say so. New connections find it well.
    pub fn lose_connections(&self) {
        self.age.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Whoever waits for a change ends with the sender.
        self.age.fetch_add(1, Ordering::SeqCst);
    }
}

impl Place for Line {
    fn called(&self) -> String {
        self.region.clone()
    }
    fn endpoints(&self) -> Vec<SocketAddr> {
        vec![self.address]
    }
}

async fn accept(
    listener: Arc<TcpListener>,
    target: SocketAddr,
    mut is: watch::Receiver<State>,
    rests: Arc<AtomicBool>,
    age: Arc<AtomicU64>,
) {
    loop {
        let black = *is.borrow_and_update() == State::Black;
        rests.store(black, Ordering::SeqCst);
        tokio::select! {
            biased;
            changed = is.changed() => if changed.is_err() { return },
            taken = listener.accept(), if !black => if let Ok((near, _)) = taken {
                tokio::spawn(carry(near, target, is.clone(), Arc::clone(&age)));
            }
        }
    }
}

async fn carry(near: TcpStream, target: SocketAddr, is: watch::Receiver<State>, age: Arc<AtomicU64>) {
    let mut opened = is.clone();
    if opened.wait_for(|state| *state == State::Open).await.is_err() {
        return;
    }
    // A region that refuses is one whose line does too: the end of the connection says so.
    let Ok(far) = TcpStream::connect(target).await else {
        let _ = SockRef::from(&near).set_linger(Some(Duration::ZERO));
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let born = age.load(Ordering::SeqCst);
    let way = |read, write| one_way(read, write, is.clone(), Arc::clone(&age), born);
    tokio::join!(way(near_read, far_write), way(far_read, near_write));
}

async fn one_way(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut is: watch::Receiver<State>,
    age: Arc<AtomicU64>,
    born: u64,
) {
    let mut some = vec![0; 16 * 1024];
    loop {
        if is.wait_for(|state| *state == State::Open).await.is_err() {
            return;
        }
        let read = tokio::select! {
            biased;
            changed = is.changed() => if changed.is_err() { return } else { continue },
            read = from.read(&mut some) => read,
        };
        if age.load(Ordering::SeqCst) != born {
            // Lost: neither end hears of the other again, until the line itself is gone.
            while is.changed().await.is_ok() {}
            return;
        }
        match read {
            Ok(0) | Err(_) => {
                let _ = to.shutdown().await;
                return;
            }
            Ok(read) => {
                if to.write_all(&some[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}
