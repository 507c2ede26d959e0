//! Tunnels over pipes that hold a few bytes.

use std::future::poll_fn;
use std::pin::Pin;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex, join, sink};
use tokio::time::{advance, timeout};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(300);
const STALLED: Duration = Duration::from_secs(60);
const PATIENCE: Patience = Patience {
    idle: IDLE,
    client: Demand { within: STALLED, least: 4096 },
    region: Demand { within: STALLED, least: 1 },
};

/// Two pipes and what moves between them; the far ends are the test's.
struct World {
    client: DuplexStream,
    region: DuplexStream,
    relay: Relay,
    carried: Carried,
}

fn world(pipe: usize) -> (World, DuplexStream, DuplexStream) {
    world_with(pipe, b"", b"")
}

fn world_with(pipe: usize, held: &[u8], early: &[u8]) -> (World, DuplexStream, DuplexStream) {
    let (client_far, client) = duplex(pipe);
    let (region_far, region) = duplex(pipe);
    let relay = Relay::new(held.into(), early.into(), PATIENCE);
    (World { client, region, relay, carried: Carried::default() }, client_far, region_far)
}

impl World {
    async fn run(&mut self) -> Result<(), Broken> {
        let Self { client, region, relay, carried } = self;
        poll_fn(|cx| relay.poll(cx, (&mut *client, &mut *region), carried)).await
    }

    /// Runs until the end and takes its ends away with it.
    async fn run_out(mut self) -> (Result<(), Broken>, Carried) {
        let ended = self.run().await;
        (ended, self.carried)
    }

    /// Whether it goes on for all of `time`.
    async fn goes_on(&mut self, time: Duration) -> bool {
        timeout(time, self.run()).await.is_err()
    }
}

/// Reads what it wrote, one piece at a time, and reads nothing while it cannot write.
async fn echo(mut stream: DuplexStream) {
    let mut piece = [0; 37];
    loop {
        let read = stream.read(&mut piece).await.unwrap();
        if read == 0 {
            return stream.shutdown().await.unwrap();
        }
        stream.write_all(&piece[..read]).await.unwrap();
    }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_full_both_ways_flows_and_comes_back_byte_for_byte() {
    for pipe in [1, 61, 4096] {
        let (world, client, region) = world(pipe);
        let sent = pattern(20_000);
        let (mut reads, mut writes) = tokio::io::split(client);
        let mut came = Vec::new();
        let (ended, (), read, ()) =
            tokio::join!(world.run_out(), echo(region), reads.read_to_end(&mut came), async {
                writes.write_all(&sent).await.unwrap();
                writes.shutdown().await.unwrap();
            });
        let (ended, carried) = ended;
        assert!(ended.is_ok(), "{ended:?} with {pipe} bytes");
        assert_eq!(read.unwrap(), sent.len());
        assert!(came == sent, "with {pipe} bytes");
        assert_eq!((carried.to_region(), carried.to_client()), (20_000, 20_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_way_that_stands_still_does_not_hold_up_the_other() {
    for region_is_deaf in [true, false] {
        let (mut world, client, region) = world(16);
        let (deaf, talks) = if region_is_deaf { (region, client) } else { (client, region) };
        let (mut deaf_reads, mut deaf_writes) = tokio::io::split(deaf);
        let (mut reads, mut writes) = tokio::io::split(talks);
        let full = pattern(100_000);
        let flows = async {
            let mut came = vec![0; 10_000];
            let write = async { deaf_writes.write_all(&pattern(10_000)).await.unwrap() };
            let read = async { reads.read_exact(&mut came).await.unwrap() };
            tokio::join!(write, read);
            came
        };
        let came = tokio::select! {
            came = flows => came,
            _ = writes.write_all(&full) => panic!("somebody took it"),
            ended = world.run() => panic!("{ended:?}"),
        };
        assert!(came == pattern(10_000));
        assert!(deaf_reads.read_u8().await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn either_end_may_end_first_and_the_other_still_speaks() {
    for region_first in [true, false] {
        let (world, client, region) = world(8);
        let (mut first, mut last) = if region_first { (region, client) } else { (client, region) };
        let story = async {
            let (mut heard, mut answer) = (Vec::new(), Vec::new());
            tokio::join!(
                async {
                    first.write_all(b"all that I have to say").await.unwrap();
                    first.shutdown().await.unwrap();
                    first.read_to_end(&mut answer).await.unwrap();
                },
                async {
                    last.read_to_end(&mut heard).await.unwrap();
                    last.write_all(b"and what I say to that").await.unwrap();
                    last.shutdown().await.unwrap();
                }
            );
            (heard, answer)
        };
        let ((ended, _), (heard, answer)) = tokio::join!(world.run_out(), story);
        assert!(ended.is_ok(), "{ended:?}");
        assert_eq!(heard, b"all that I have to say");
        assert_eq!(answer, b"and what I say to that");
    }
}

#[tokio::test(start_paused = true)]
async fn what_each_end_had_said_before_comes_first() {
    let (mut world, mut client, mut region) = world_with(64, b"held back, ", b"right behind, ");
    let story = async {
        client.write_all(b"then this").await.unwrap();
        region.write_all(b"then that").await.unwrap();
        let (mut at_region, mut at_client) = ([0; 20], [0; 23]);
        region.read_exact(&mut at_region).await.unwrap();
        client.read_exact(&mut at_client).await.unwrap();
        (at_region, at_client)
    };
    let told = tokio::select! {
        told = story => told,
        ended = world.run() => panic!("{ended:?}"),
    };
    assert_eq!((&told.0, &told.1), (b"held back, then this", b"right behind, then that"));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_tunnel_and_a_byte_from_either_end_begins_it_anew() {
    let (mut world, mut client, mut region) = world(64);
    for _ in 0..3 {
        assert!(world.goes_on(IDLE - SECOND).await);
        client.write_all(b".").await.unwrap();
        assert!(world.goes_on(IDLE - SECOND).await);
        region.write_all(b".").await.unwrap();
    }
    assert!(world.goes_on(IDLE - SECOND).await);
    let ended = timeout(2 * SECOND, world.run()).await;
    assert!(matches!(ended, Ok(Err(Broken::Idle))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn one_end_alone_may_be_silent_for_as_long_as_it_might_stall() {
    for region_first in [true, false] {
        let (mut world, client, region) = world(64);
        let (mut first, _last) = if region_first { (region, client) } else { (client, region) };
        first.shutdown().await.unwrap();
        assert!(world.goes_on(STALLED - SECOND).await);
        let ended = timeout(2 * SECOND, world.run()).await;
        assert!(matches!(ended, Ok(Err(Broken::Idle))), "{ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_takes_nothing_ends_a_tunnel_even_while_it_speaks() {
    for deaf in [End::Client, End::Region] {
        let (mut world, client, region) = world(16);
        let (mut silent, mut full) = if deaf == End::Client { (client, region) } else { (region, client) };
        full.write_all(b"more than a pipe").await.unwrap();
        assert!(world.goes_on(Duration::ZERO).await);
        full.write_all(b"of this size has").await.unwrap();
        for _ in 0..5 {
            assert!(world.goes_on(STALLED / 6).await);
            silent.write_all(b".").await.unwrap();
        }
        let ended = timeout(STALLED / 2, world.run()).await;
        assert!(matches!(&ended, Ok(Err(Broken::Stalled(end))) if *end == deaf), "{ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_drops_takes_too_little() {
    let (mut world, mut client, mut region) = world(16);
    region.write_all(b"more than a pipe").await.unwrap();
    assert!(world.goes_on(Duration::ZERO).await);
    region.write_all(b"of this size has").await.unwrap();
    let drops = async {
        loop {
            advance(5 * SECOND).await;
            client.read_u8().await.unwrap();
            let _ = region.write_u8(b'.').await;
        }
    };
    let ended = tokio::select! {
        ended = world.run() => ended,
        () = drops => unreachable!(),
    };
    assert!(matches!(ended, Err(Broken::Stalled(End::Client))), "{ended:?}");
}

/// Says its last, then breaks off.
struct Breaks(&'static [u8], io::ErrorKind);

impl AsyncRead for Breaks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match std::mem::take(&mut self.0) {
            b"" => Poll::Ready(Err(self.1.into())),
            last => {
                buf.put_slice(last);
                Poll::Ready(Ok(()))
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_breaks_off_ends_the_tunnel_once_its_last_is_delivered() {
    for (kind, broken) in [
        (io::ErrorKind::ConnectionReset, End::Client),
        (io::ErrorKind::UnexpectedEof, End::Client),
        (io::ErrorKind::ConnectionReset, End::Region),
    ] {
        let mut gone = join(Breaks(b"its very last words", kind), sink());
        let (mut far, mut near) = duplex(4);
        let mut relay = Relay::new(BytesMut::new(), BytesMut::new(), PATIENCE);
        let carried = Carried::default();
        let run = poll_fn(|cx| match broken {
            End::Client => relay.poll(cx, (&mut gone, &mut near), &carried),
            End::Region => relay.poll(cx, (&mut near, &mut gone), &carried),
        });
        let mut heard = [0; 19];
        let (ended, read) = tokio::join!(run, far.read_exact(&mut heard));
        read.unwrap();
        assert_eq!(&heard, b"its very last words");
        let Err(Broken::Off(end, cause)) = ended else { panic!("{ended:?}") };
        assert_eq!((end, cause.kind()), (broken, kind));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_region_said_before_it_went_away_arrives_although_its_client_speaks_on() {
    let (world, mut client, mut region) = world(4096);
    region.write_all(b"goodbye").await.unwrap();
    drop(region);
    let story = async {
        client.write_all(b"are you there?").await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        heard
    };
    let ((ended, _), heard) = tokio::join!(world.run_out(), story);
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(heard, b"goodbye");
}
