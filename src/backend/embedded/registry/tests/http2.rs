//! What only HTTP/2 can do to us. The registry is written frame by frame.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const AWAY: u8 = 7;
const MORE_HEADERS: u8 = 9;
/// Of a body, and of settings an acknowledgement.
const END: u8 = 1;
const END_HEADERS: u8 = 4;
/// As the client takes it.
const FRAME: usize = 16 << 10;

/// A registry that answers each request with frames.
struct Raw {
    host: String,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

/// What follows the frames of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Listen,
    Close,
    /// The last frame, again and again.
    Flood,
}

type Script = Arc<dyn Fn(usize, u32) -> (Vec<Vec<u8>>, Then) + Send + Sync>;

impl Raw {
    /// `script` is told which request it is, from 0, and its stream.
    async fn start(
        authority: &Authority,
        script: impl Fn(usize, u32) -> (Vec<Vec<u8>>, Then) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("registry.test:{}", listener.local_addr().unwrap().port());
        let tls = authority.server("registry.test", &["h2"]);
        let script: Script = Arc::new(script);
        let (requests, connections, sent) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicU64>)>::default();
        let counts = (Arc::clone(&requests), Arc::clone(&connections), Arc::clone(&sent));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (requests, connections, sent) = counts;
            let mut running = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (tls, script, requests, sent) = (
                    tls.clone(),
                    Arc::clone(&script),
                    Arc::clone(&requests),
                    Arc::clone(&sent),
                );
                running.spawn(async move {
                    let stream = tls.accept(stream).await.unwrap();
                    // How the client ends it is the test's to judge.
                    let _ended = serve(stream, &script, &requests, &sent).await;
                });
            }
        });
        Self {
            host,
            requests,
            connections,
            sent,
            _tasks: tasks,
        }
    }

    fn client(&self, authority: &Authority) -> Registry {
        let mut settings = settings(std::slice::from_ref(&self.host));
        settings.ca_file = Some(authority.path());
        settings.timeouts.progress = Duration::from_millis(500);
        let net = World::default().name("registry.test", &[&["127.0.0.1"]]).real();
        client_in(settings, net)
    }

    async fn ask(&self, authority: &Authority) -> Result<Fetched, Fault> {
        let client = self.client(authority);
        client.manifest(&name(&self.host), Reference::Tag, false).await
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: &Script,
    requests: &AtomicUsize,
    sent: &AtomicU64,
) -> io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    assert_eq!(preface, PREFACE);
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await?;
        let [kind, flags] = [head[3], head[4]];
        if kind == SETTINGS && flags & END == 0 {
            stream.write_all(&frame(SETTINGS, END, 0, &[])).await?;
        }
        if kind != HEADERS {
            continue;
        }
        let asked = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let (frames, then) = script(requests.fetch_add(1, Ordering::SeqCst), asked);
        for frame in &frames {
            stream.write_all(frame).await?;
            sent.fetch_add(frame.len() as u64, Ordering::SeqCst);
        }
        stream.flush().await?;
        match then {
            Then::Listen => {}
            Then::Close => return stream.shutdown().await,
            Then::Flood => loop {
                let last = frames.last().unwrap();
                stream.write_all(last).await?;
                sent.fetch_add(last.len() as u64, Ordering::SeqCst);
            },
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header as a literal that no table keeps.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let length = text.len();
        let mut coded = if length < 127 {
            vec![u8::try_from(length).unwrap()]
        } else {
            let rest = length - 127;
            assert!(rest < 1 << 14);
            let [low, high] = [rest & 127 | 128, rest >> 7].map(|part| u8::try_from(part).unwrap());
            vec![127, low, high]
        };
        coded.extend(text.as_bytes());
        coded
    };
    [vec![0], text(name), text(value)].concat()
}

/// Status 200, and the manifest's length.
fn head(stream: u32) -> Vec<u8> {
    let length = field("content-length", &manifest().len().to_string());
    frame(HEADERS, END_HEADERS, stream, &[vec![0x88], length].concat())
}

/// As [`head`], of nobody knows how much.
fn head_without_length(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &[0x88])
}

fn whole(stream: u32) -> Vec<Vec<u8>> {
    vec![head(stream), frame(DATA, END, stream, manifest().as_bytes())]
}

fn half(stream: u32) -> Vec<u8> {
    let manifest = manifest();
    frame(DATA, 0, stream, &manifest.as_bytes()[..manifest.len() / 2])
}

fn away(last: u32, code: u32) -> Vec<u8> {
    frame(AWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RESET, 0, stream, &code.to_be_bytes())
}

/// A manifest whose answer breaks in one of the ways of HTTP/2.
type Breaks = fn(u32) -> (Vec<Vec<u8>>, Then);

const BREAKS: [(&str, Breaks); 9] = [
    ("away", |on| (vec![head(on), half(on), away(on, 0)], Then::Close)),
    ("away and open", |on| {
        (vec![head(on), half(on), away(on, 0)], Then::Listen)
    }),
    ("away from the start", |_| (vec![away(0, 0)], Then::Close)),
    ("calm down", |on| (vec![head(on), half(on), away(0, 11)], Then::Close)),
    ("refused", |on| (vec![reset(on, 7)], Then::Listen)),
    ("reset", |on| (vec![head(on), half(on), reset(on, 2)], Then::Listen)),
    ("cancelled", |on| (vec![head(on), half(on), reset(on, 8)], Then::Listen)),
    // Looks like an end.
    ("no error", |on| (vec![head(on), half(on), reset(on, 0)], Then::Listen)),
    ("closed", |on| (vec![head(on), half(on)], Then::Close)),
];

#[tokio::test]
async fn a_stream_that_breaks_is_asked_for_again() {
    let authority = Authority::new();
    for (what, breaks) in BREAKS {
        let raw = Raw::start(&authority, move |request, on| match request {
            0 => breaks(on),
            _ => (whole(on), Then::Listen),
        })
        .await;
        let fetched = raw
            .ask(&authority)
            .await
            .unwrap_or_else(|fault| panic!("{what}: {fault:?}"));
        assert_eq!(fetched.bytes, manifest().as_bytes(), "{what}");
        assert_eq!(raw.requests(), 2, "{what}");
    }
}

#[tokio::test]
async fn a_stream_that_always_breaks_has_an_end() {
    let authority = Authority::new();
    for (what, breaks) in BREAKS {
        let raw = Raw::start(&authority, move |_, on| breaks(on)).await;
        let fault = raw.ask(&authority).await.unwrap_err();
        assert_eq!(
            (fault.error.kind, fault.retry),
            (Kind::RegistryUnreachable, Retry::Soon),
            "{what}: {}",
            fault.error.message
        );
        assert_eq!(raw.requests(), 4, "{what}");
        assert!(raw.connections.load(Ordering::SeqCst) <= 4, "{what}");
    }
}

/// Without a length nobody can tell the half from the whole but by its content.
#[tokio::test]
async fn half_a_manifest_is_none() {
    let authority = Authority::new();
    let raw = Raw::start(&authority, |_, on| {
        (vec![head_without_length(on), half(on), reset(on, 0)], Then::Listen)
    })
    .await;
    let fault = raw.ask(&authority).await.unwrap_err();
    assert_eq!(fault.error.kind, Kind::Protocol, "{fault:?}");
}

#[tokio::test]
async fn a_flood_of_headers_is_bounded() {
    let authority = Authority::new();
    let fields = |each: &str| {
        let mut fields = Vec::new();
        while fields.len() + each.len() + 16 < FRAME {
            fields.extend(field("x-flood", each));
        }
        fields
    };
    let (many, large) = (fields("y"), fields(&"y".repeat(8000)));
    for (frames, then) in [
        // Without an end.
        (vec![many.clone()], Then::Flood),
        (vec![large.clone()], Then::Flood),
        (vec![vec![]], Then::Flood),
        // Too long, and then an end.
        (vec![large; 6], Then::Listen),
        (vec![many; 6], Then::Listen),
    ] {
        let raw = Raw::start(&authority, move |_, on| {
            let mut all = vec![frame(HEADERS, 0, on, &[0x88])];
            all.extend(frames.iter().map(|fields| frame(MORE_HEADERS, 0, on, fields)));
            if then == Then::Listen {
                all.push(frame(MORE_HEADERS, END_HEADERS, on, &[]));
                all.push(frame(DATA, END, on, manifest().as_bytes()));
            }
            (all, then)
        })
        .await;
        let fault = raw.ask(&authority).await.unwrap_err();
        assert_eq!(
            (fault.error.kind.clone(), fault.retry),
            (Kind::Protocol, Retry::Never),
            "{fault:?}"
        );
        assert!(fault.error.message.contains("headers"), "{}", fault.error.message);
        assert_eq!(raw.requests(), 1);
        // With what lies in the system's buffers.
        let sent = raw.sent.load(Ordering::SeqCst);
        assert!(sent < 8 << 20, "{sent} bytes");
    }
}
