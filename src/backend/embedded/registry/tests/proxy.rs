//! A proxy between us and registries: tunnels for https, whole requests for plain http.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::*;

/// As the proxy is told user and password, in lower case.
const PROXY_USER: &str = "proxy-authorization: basic dxnlcjpzm2nyzxq=";

/// A proxy. Ends with its connections when it is dropped.
struct Proxy {
    host: String,
    /// The head of each request.
    heads: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

/// What the proxy does with a request.
#[derive(Clone)]
enum Act {
    /// All names lead there.
    Connect(std::net::SocketAddr),
    Answer(&'static [u8]),
    Hang,
}

impl Proxy {
    async fn start(act: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heads);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, act.clone(), Arc::clone(&log)));
            }
        });
        Self {
            host,
            heads,
            _tasks: tasks,
        }
    }

    /// With a user and a password.
    fn url(&self) -> String {
        format!("http://user:s3cret@{}", self.host)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn targets(&self) -> Vec<String> {
        let line = |head: String| head.lines().next().unwrap_or_default().to_owned();
        self.heads().into_iter().map(line).collect()
    }
}

async fn serve(mut stream: TcpStream, act: Act, log: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    log.lock().unwrap().push(String::from_utf8(head).unwrap());
    let _ended = match act {
        Act::Connect(address) => {
            let mut target = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            copy_bidirectional(&mut stream, &mut target).await.map(|_| ())
        }
        Act::Answer(bytes) => {
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await
        }
        // Until the client leaves.
        Act::Hang => stream.read_u8().await.map(|_| ()),
    };
}

/// A registry that gives what every name's registry would.
async fn registry(authority: &Authority, script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Double {
    Double::start_tls(authority.server("registry.test", &["h2", "http/1.1"]), script).await
}

fn good(seen: &Seen) -> Answer {
    Answer::ok(if seen.path.contains("/blobs/") {
        BLOB.to_vec()
    } else {
        manifest().into_bytes()
    })
}

/// Behind this proxy. No name can be looked up here.
fn behind(proxy: &Proxy, authority: &Authority, auth_file: Option<&tempfile::NamedTempFile>) -> Registry {
    let mut settings = settings(&["registry.test".to_owned()]);
    settings.proxy = Some(proxy.url());
    settings.ca_file = Some(authority.path());
    settings.auth_file = auth_file.map(|file| file.path().to_owned());
    client_in(settings, World::default().real())
}

async fn ask(client: &Registry) -> Result<Fetched, Fault> {
    client.manifest(&name("registry.test"), Reference::Tag, false).await
}

#[tokio::test]
async fn an_https_registry_is_reached_through_a_tunnel_and_each_keeps_its_credentials() {
    let authority = Authority::new();
    let double = registry(&authority, |seen| match seen.header("authorization") {
        Some(BASIC) => good(seen),
        _ => Answer::new(401).header("www-authenticate", "Basic realm=x"),
    })
    .await;
    let proxy = Proxy::start(Act::Connect(double.address)).await;
    let file = auth_file("registry.test", USER);
    let client = behind(&proxy, &authority, Some(&file));
    ask(&client).await.unwrap();
    client
        .blob(&name("registry.test"), &layer(), false)
        .open(0..5, None)
        .await
        .unwrap();
    let seen = double.seen();
    assert!(
        seen.iter().all(|seen| seen.header("proxy-authorization").is_none()),
        "{seen:?}"
    );
    let versions: Vec<_> = seen.iter().map(|seen| seen.http2).collect();
    assert_eq!(versions, [true, true, false], "blobs have connections of their own");
    for head in proxy.heads() {
        assert!(head.starts_with("CONNECT registry.test:443 HTTP/1.1\r\n"), "{head}");
        let head = head.to_lowercase();
        assert!(head.contains(PROXY_USER), "{head}");
        assert!(!head.contains("\nauthorization"), "{head}");
    }
    assert!(!format!("{client:?}").contains("s3cret"), "{client:?}");
}

#[tokio::test]
async fn through_a_tunnel_names_and_literals_are_still_looked_at() {
    let authority = Authority::new();
    for (host, wanted) in [
        ("10.0.0.1", Kind::RegistryNotAllowed),
        ("127.1", Kind::RegistryNotAllowed),
        ("[::ffff:169.254.169.254]", Kind::RegistryNotAllowed),
        ("localhost", Kind::RegistryNotAllowed),
        ("x.localhost.", Kind::RegistryNotAllowed),
        // Whatever it stands for: the proxy looks it up. Its certificate is another's here.
        ("inside.test", Kind::RegistryUnreachable),
    ] {
        let url = format!("https://{host}/v2/");
        let double = registry(&authority, move |_| Answer::redirect(url.clone())).await;
        let proxy = Proxy::start(Act::Connect(double.address)).await;
        let fault = ask(&behind(&proxy, &authority, None)).await.unwrap_err();
        assert_eq!(
            (fault.error.kind.clone(), fault.retry),
            (wanted.clone(), Retry::Never),
            "{fault:?}"
        );
        let mut connected = vec!["CONNECT registry.test:443 HTTP/1.1"];
        if wanted != Kind::RegistryNotAllowed {
            connected.push("CONNECT inside.test:443 HTTP/1.1");
        }
        assert_eq!(proxy.targets(), connected);
    }
}

#[tokio::test]
async fn plain_http_is_not_tunnelled_to_where_it_is_not_listed() {
    let authority = Authority::new();
    let double = registry(&authority, |_| Answer::redirect("http://other.test/")).await;
    let proxy = Proxy::start(Act::Connect(double.address)).await;
    let fault = ask(&behind(&proxy, &authority, None)).await.unwrap_err();
    assert_eq!(fault.error.kind, Kind::RegistryNotAllowed);
    assert_eq!(proxy.targets().len(), 1);
}

/// The fault is told of the proxy, by its place alone.
fn assert_of(proxy: &str, fault: &Fault, retry: Retry) {
    assert_eq!(
        (fault.error.kind.clone(), fault.retry),
        (Kind::RegistryUnreachable, retry),
        "{fault:?}"
    );
    let told = format!("the proxy `{proxy}`");
    assert!(fault.error.message.contains(&told), "{}", fault.error.message);
    let all = format!("{fault:?}");
    assert!(!all.contains("s3cret") && !all.contains("user:"), "{all}");
}

#[tokio::test]
async fn what_a_proxy_does_wrong_is_said_of_the_proxy() {
    let authority = Authority::new();
    for (act, retry) in [
        (
            Act::Answer(b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n"),
            Retry::Never,
        ),
        (Act::Answer(b"HTTP/1.1 502 Bad Gateway\r\n\r\n<p>no"), Retry::Soon),
        (Act::Answer(b"HTTP/1.1 403 Forbidden\r\n\r\n"), Retry::Soon),
        (Act::Answer(b"nonsense\r\n\r\n"), Retry::Soon),
        (Act::Answer(b""), Retry::Soon),
        (Act::Answer(&[b'x'; 9000]), Retry::Soon),
        (Act::Hang, Retry::Soon),
    ] {
        for tls in [true, false] {
            let proxy = Proxy::start(act.clone()).await;
            let host = if tls { "registry.test" } else { "http://registry.test" };
            let mut settings = settings(&[host.to_owned()]);
            settings.proxy = Some(proxy.url());
            settings.ca_file = Some(authority.path());
            settings.timeouts.connect = Duration::from_millis(100);
            settings.timeouts.first_byte = Duration::from_millis(100);
            let client = client_in(settings, World::default().real());
            let name = name("registry.test");
            let asked = client.manifest(&name, Reference::Tag, !tls).await;
            // What comes in plain http may be the registry's own words.
            let own = match act {
                Act::Answer(bytes) => bytes.starts_with(b"HTTP/1.1 407") || bytes.starts_with(b"HTTP/1.1 502"),
                _ => true,
            };
            let fault = asked.unwrap_err();
            if tls || own {
                assert_of(&proxy.host, &fault, retry);
            }
            let opened = client.blob(&name, &layer(), !tls).open(0..5, None).await;
            if tls || own {
                assert_of(&proxy.host, &opened.unwrap_err(), retry);
            }
        }
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_or_not_trusted_is_said_to_be() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = closed.local_addr().unwrap().to_string();
    drop(closed);
    for (scheme, allow, insecure) in [
        ("http", "registry.test", false),
        ("http", "http://registry.test", true),
        ("https", "registry.test", false),
    ] {
        let mut settings = settings(&[allow.to_owned()]);
        settings.proxy = Some(format!("{scheme}://user:s3cret@{host}"));
        let client = client_in(settings, World::default().real());
        let asked = client.manifest(&name("registry.test"), Reference::Tag, insecure).await;
        assert_of(&host, &asked.unwrap_err(), Retry::Soon);
    }
    let authority = Authority::new();
    let proxy = registry(&authority, good).await;
    let mut settings = settings(&["registry.test".to_owned()]);
    settings.proxy = Some(format!("https://user:s3cret@localhost:{}", proxy.address.port()));
    let client = client_in(settings, World::default().name("localhost", &[&["127.0.0.1"]]).real());
    let fault = ask(&client).await.unwrap_err();
    assert_of(&format!("localhost:{}", proxy.address.port()), &fault, Retry::Never);
    assert!(fault.error.message.contains("certificate"), "{}", fault.error.message);
}
