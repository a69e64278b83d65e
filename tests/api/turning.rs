//! What a path leads to changes between the check and the opening.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use model_control::model::Digest;

use super::{
    scene::{Scene, model, split},
    support::*,
};

/// How often each side must have been seen.
const EACH: u32 = 25;

/// Where the links lead out to, from the root.
const OUT: &str = "../secret.gguf";

/// A thread that turns things until it is dropped.
struct Turning {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the creates saw.
#[derive(Debug, Default)]
struct Seen {
    inside: u32,
    refused: u32,
    /// It moved while it was opened or read.
    moving: u32,
}

// === impl Turning ===

impl Turning {
    fn start(mut turn: impl FnMut() -> Duration + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // Dropping ends it at once.
                std::thread::park_timeout(turn());
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Turning {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().inspect(|thread| thread.thread().unpark());
        let turned = thread.map(JoinHandle::join);
        assert!(turned.is_some_and(|joined| joined.is_ok()) || std::thread::panicking());
    }
}

/// Puts a link or a copy at a place, in one step.
fn replace(place: &Path, target: Result<&str, &[u8]>) {
    let new = place.with_extension("new");
    match target {
        Ok(target) => std::os::unix::fs::symlink(target, &new).unwrap(),
        Err(content) => fs::write(&new, content).unwrap(),
    }
    fs::rename(&new, place).unwrap();
}

/// Creates from the paths, each time under a new name, until both sides were seen: only `inside` is ever stored.
async fn creates(scene: &mut Scene, paths: &[PathBuf], inside: &Digest) -> Seen {
    let mut seen = Seen::default();
    let start = Instant::now();
    for number in 0.. {
        if seen.inside >= EACH && seen.refused >= EACH {
            break;
        }
        assert!(start.elapsed() < 2 * LONG, "{seen:?}");
        let path = &paths[number % paths.len()];
        match created(&mut scene.client, create(&format!("m{number}"), path)).await {
            Ok(result) => {
                let stored = result.provenance.unwrap().stored_digest;
                assert_eq!(stored, inside.to_string());
                seen.inside += 1;
            }
            Err(status) => match &*reason(&status) {
                "PATH_NOT_ALLOWED" => seen.refused += 1,
                "PATH_NOT_USABLE" => {
                    assert!(status.message().contains("changed while it was "), "{status:?}");
                    seen.moving += 1;
                }
                _ => panic!("{status:?}"),
            },
        }
        assert_eq!(scene.unfinished(), [0; 0]);
    }
    seen
}

/// Nothing of what lies outside is in the store; the figures go to whoever wants to see them.
#[expect(clippy::print_stderr, reason = "how often a race was run is worth knowing")]
fn judge(scene: &Scene, seen: &Seen) {
    let outside = model(99);
    assert!(!scene.stored().values().any(|content| *content == outside));
    eprintln!("{seen:?}");
}

/// About as long as a create takes, so that it turns before it, in its middle and after it: a file that is replaced while
/// it is read is refused as one that changes.
fn pause() -> Duration {
    Duration::from_micros(fastrand::u64(..20_000))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_turns_out_is_never_followed() {
    let mut scene = Scene::new().await;
    let inside = model(1);
    // A link to the file, and one on the way to it.
    fs::create_dir(scene.beside("elsewhere")).unwrap();
    fs::write(scene.beside("elsewhere/good.gguf"), model(99)).unwrap();
    scene.put("folder/good.gguf", &inside);
    let (link, way) = (scene.root("link"), scene.root("way"));
    let turn = {
        let (link, way) = (link.clone(), way.clone());
        move |out: bool| {
            replace(&link, Ok(if out { OUT } else { "folder/good.gguf" }));
            replace(&way, Ok(if out { "../elsewhere" } else { "folder" }));
        }
    };
    turn(false);
    let mut out = false;
    let turning = Turning::start(move || {
        out = !out;
        turn(out);
        // At full speed the kernel, which starts over when something moves, would see one side only.
        Duration::from_micros(fastrand::u64(..200))
    });
    let seen = creates(&mut scene, &[link, way.join("good.gguf")], &Digest::of(&inside)).await;
    drop(turning);
    judge(&scene, &seen);
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_turns_into_a_link_out_is_never_followed() {
    let mut scene = Scene::new().await;
    let inside = model(1);
    let digest = Digest::of(&inside);
    let file = scene.put("file.gguf", &inside);
    let mut out = false;
    let turned = file.clone();
    let turning = Turning::start(move || {
        out = !out;
        replace(&turned, if out { Ok(OUT) } else { Err(&inside) });
        pause()
    });
    let seen = creates(&mut scene, &[file], &digest).await;
    drop(turning);
    judge(&scene, &seen);
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_turns_into_a_link_out_is_never_followed() {
    let mut scene = Scene::new().await;
    let first = split(&scene.root(""), 3);
    let whole = created(&mut scene.client, create("whole", &first)).await.unwrap();
    let digest = whole.provenance.unwrap().stored_digest.parse().unwrap();
    // The outside has the same tensors with other content, and would fit.
    let second = scene.root("m-00002-of-00003.gguf");
    let inside = fs::read(&second).unwrap();
    let mut outside = inside.clone();
    *outside.last_mut().unwrap() = 99;
    fs::write(scene.beside("part.gguf"), &outside).unwrap();
    let mut out = false;
    let turning = Turning::start(move || {
        out = !out;
        replace(&second, if out { Ok("../part.gguf") } else { Err(&inside) });
        pause()
    });
    let seen = creates(&mut scene, &[first], &digest).await;
    drop(turning);
    judge(&scene, &seen);
    scene.alive().await;
}
