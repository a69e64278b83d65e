//! Connections that are reset, at every offset of what the registry answers.
//!
//! A road stands before the registry. It resets connections as a middle box does: what is on the way is lost, and nobody is
//! told why.

use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use model_control::model::Digest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    hub::{Hub, MODEL, gguf, layer, manifest},
    support::*,
    world::{Ways, World},
};

/// Where in an answer a connection is reset.
#[derive(Debug, Clone, Copy)]
enum At {
    /// After so many bytes, those of the head included.
    Byte(usize),
    /// After so many bytes of the body.
    Body(usize),
}

/// By the head of the request; nothing for an answer that comes through.
type Plan = Box<dyn FnMut(&str) -> Option<At> + Send>;

/// Ends with its connections when it is dropped.
struct Road {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    resets: Arc<Mutex<usize>>,
    _tasks: JoinSet<()>,
}

impl Road {
    async fn to(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plan: Arc<Mutex<Plan>> = Arc::new(Mutex::new(Box::new(|_| None)));
        let resets = Arc::new(Mutex::new(0));
        let (planned, counted) = (Arc::clone(&plan), Arc::clone(&resets));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (plan, resets) = (Arc::clone(&planned), Arc::clone(&counted));
                connections.spawn(async move {
                    if relay(stream, behind, &plan).await.is_some() {
                        *resets.lock().unwrap() += 1;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            plan,
            resets,
            _tasks: tasks,
        }
    }

    fn plan(&self, plan: impl FnMut(&str) -> Option<At> + Send + 'static) {
        *self.plan.lock().unwrap() = Box::new(plan);
    }

    /// The first answer to a request that names `what`, and no other.
    fn once(&self, what: &str, at: At) {
        let (what, mut left) = (what.to_owned(), Some(at));
        self.plan(move |head| if head.contains(&what) { left.take() } else { None });
    }

    /// The first answer of each range of `what`: the rest of a range ends where the range does.
    fn once_each(&self, what: &str, at: At) {
        let (what, mut seen) = (what.to_owned(), HashSet::new());
        self.plan(move |head| {
            let range = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
            let (_, end) = range?.split_once('-')?;
            (head.contains(&what) && seen.insert(end.to_owned())).then_some(at)
        });
    }

    fn always(&self, what: &str, at: At) {
        let what = what.to_owned();
        self.plan(move |head| head.contains(&what).then_some(at));
    }

    fn resets(&self) -> usize {
        *self.resets.lock().unwrap()
    }
}

/// Something when it ended with a reset.
async fn relay(mut client: TcpStream, behind: SocketAddr, plan: &Mutex<Plan>) -> Option<()> {
    let mut registry = TcpStream::connect(behind).await.ok()?;
    let (mut asked, mut told) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    // Of the answer that is on its way.
    let mut reset: Option<At> = None;
    loop {
        tokio::select! {
            count = client.read(&mut asked) => {
                let head = &asked[..count.ok().filter(|count| *count > 0)?];
                // A request is one packet here, and an answer is whole before the next.
                reset = plan.lock().unwrap()(str::from_utf8(head).unwrap());
                registry.write_all(head).await.ok()?;
            }
            count = registry.read(&mut told) => {
                let bytes = &told[..count.ok().filter(|count| *count > 0)?];
                if let Some(At::Body(after)) = reset {
                    // The double writes a head in one piece.
                    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
                    reset = Some(At::Byte(end + 4 + after));
                }
                match reset {
                    Some(At::Byte(left)) if left <= bytes.len() => {
                        client.write_all(&bytes[..left]).await.ok()?;
                        client.set_zero_linger().unwrap();
                        return Some(());
                    }
                    Some(At::Byte(left)) => reset = Some(At::Byte(left - bytes.len())),
                    _ => {}
                }
                client.write_all(bytes).await.ok()?;
            }
        }
    }
}

async fn world() -> (World, Road) {
    let hub = Hub::start().await;
    let road = Road::to(hub.double.address).await;
    let ways = Ways {
        host: Some(road.address.to_string()),
        ..Ways::default()
    };
    (World::before(hub, ways).await, road)
}

/// It comes whole in spite of one reset at least, and leaves nothing beside the model.
async fn pulled(world: &World, road: &Road, model: &str, what: &str) {
    let before = road.resets();
    let wanted = world.hub.double.seen().len();
    let result = world.pull(world.request(model)).await;
    let result = result.unwrap_or_else(|status| panic!("{what}: {status:?}"));
    assert!(result.changed && result.model.is_some(), "{what}");
    assert!(road.resets() > before, "{what}: nothing was reset");
    assert!(world.hub.double.seen().len() > wanted);
    assert_clean(world, what);
}

/// Blobs are what their names say, and no partial file is left.
fn assert_clean(world: &World, what: &str) {
    for (path, content) in world.stored() {
        if let Ok(name) = path.strip_prefix("blobs") {
            let digest = Digest::of(&content).to_string().replace(':', "-");
            assert_eq!(name.to_str().unwrap(), digest, "{what}");
        }
        assert!(
            !path.starts_with(".model-control/partial"),
            "{what}: {} is left",
            path.display()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blobs_answer_may_be_reset_after_every_byte_of_its_head() {
    let (world, road) = world().await;
    for offset in 0..=160_u8 {
        let file = gguf(offset, 24);
        let model = format!("m{offset}");
        world.hub.put(&model, &file);
        road.once(Digest::of(&file).as_str(), At::Byte(offset.into()));
        pulled(&world, &road, &model, &format!("byte {offset}")).await;
    }
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_range_may_be_reset_anywhere_in_its_body() {
    let (world, road) = world().await;
    // Parts are of 64 KiB, and of 16 KiB towards the end.
    let offsets = [0, 1, 2, 1023, 1024, 16383, 16384, 16385, 40000, 65534, 65535, 65536];
    for (seed, offset) in (1..).zip(offsets) {
        let file = gguf(seed, 1200);
        let model = format!("m{seed}");
        world.hub.put(&model, &file);
        road.once_each(Digest::of(&file).as_str(), At::Body(offset));
        pulled(&world, &road, &model, &format!("byte {offset} of the body")).await;
    }
    assert_eq!(world.list().await.len(), offsets.len());
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifests_answer_may_be_reset_anywhere() {
    let (world, road) = world().await;
    let file = gguf(1, 24);
    let body = manifest(&[layer(MODEL, &file)]).to_string().len();
    let every = (0..150).map(At::Byte);
    let bodies = (0..body).step_by(23).chain([1, body - 1]).map(At::Body);
    for (count, at) in every.chain(bodies).enumerate() {
        let model = format!("m{count}");
        world.hub.put(&model, &file);
        road.once(&format!("/library/{model}/manifests/"), at);
        pulled(&world, &road, &model, &format!("{at:?}")).await;
    }
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_always_reset_before_a_byte_came_fails_in_the_end() {
    let (world, road) = world().await;
    let file = gguf(1, 400);
    world.hub.put("m", &file);
    for (what, at) in [
        ("/manifests/", At::Byte(0)),
        ("/manifests/", At::Byte(40)),
        ("/manifests/", At::Body(0)),
        ("/manifests/", At::Body(100)),
        (Digest::of(&file).as_str(), At::Byte(0)),
        (Digest::of(&file).as_str(), At::Byte(40)),
        (Digest::of(&file).as_str(), At::Body(0)),
    ] {
        road.always(what, at);
        let status = world.fails("m", Code::Unavailable, "REGISTRY_UNREACHABLE").await;
        assert!(!status.message().contains("digest"), "{status:?}");
    }
    road.plan(|_| None);
    world.mends("m").await;
    assert_clean(&world, "mended");
    world.service.stop().await;
}

/// Each try gains something, so there is no reason to give up.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_always_reset_after_some_bytes_comes_in_the_end() {
    let (world, road) = world().await;
    for (seed, offset) in [(1, 2500), (2, 16383)] {
        let file = gguf(seed, 200);
        let model = format!("m{seed}");
        world.hub.put(&model, &file);
        road.always(Digest::of(&file).as_str(), At::Body(offset));
        pulled(&world, &road, &model, &format!("always after {offset} bytes")).await;
        // What came was not asked for again.
        let path = world
            .store
            .join("blobs")
            .join(Digest::of(&file).to_string().replace(':', "-"));
        assert_eq!(fs::read(path).unwrap(), file);
    }
    world.service.stop().await;
}
