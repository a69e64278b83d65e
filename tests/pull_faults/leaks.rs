//! What is left in the process after faults: no descriptor, no task.
//!
//! Other tests open files too, so this one runs in a process of its own.

use std::{
    env, fs,
    process::{Command, Stdio},
};

use super::{
    double::{Answer, Seen},
    hub::{asked, gguf, part},
    support::*,
    world::{World, until},
};

/// Set for the process of its own.
const INSIDE: &str = "MODEL_CONTROL_TEST_LEAKS";
const ROUNDS: usize = 5;

#[test]
fn faults_leave_no_descriptor_and_no_task() {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "leaks::inside"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

/// Where they lead, but for what is made for each look.
fn descriptors() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let mut open: Vec<_> = links.map(|link| link.display().to_string()).collect();
    open.retain(|link| !link.starts_with("/proc/"));
    open
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Each fault once, at the manifest and at the blobs.
async fn faults(world: &World) {
    type Fault = fn(&Seen) -> Answer;
    let faults: [Fault; 7] = [
        |_| Answer::new(404),
        |_| Answer::new(403),
        |_| Answer::new(500),
        |_| Answer::raw("").then_close(),
        |_| Answer::redirect("https://127.0.0.1/"),
        |_| Answer::ok("<html>"),
        |seen| {
            let wrong = vec![1; gguf(1, 200).len()];
            if asked(seen).is_some() {
                part(seen, &wrong)
            } else {
                Answer::ok("{")
            }
        },
    ];
    for what in ["/manifests/", "/blobs/"] {
        for fault in faults {
            world
                .hub
                .script(move |seen| seen.path.contains(what).then(|| fault(seen)));
            world.pull(world.request("m")).await.unwrap_err();
        }
    }
    // And those that are stopped half-way.
    let request = v1::PullRequest {
        on_disconnect: v1::OnDisconnect::Cancel.into(),
        ..world.request("m")
    };
    let (stream, _gate, _) = world.half_way(&gguf(1, 200), request).await;
    drop(stream);
    super::leaving::ended(world).await;
    world.hub.good();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in a process of its own, by the test above"]
async fn inside() {
    if env::var_os(INSIDE).is_none() {
        return;
    }
    let before = tasks();
    let mut open = descriptors();
    for _ in 0..ROUNDS {
        let world = World::stocked().await;
        faults(&world).await;
        // In the store nothing is open but its lock, while nothing runs.
        let inside = world.store.display().to_string();
        let mut of_store = vec![];
        until(|| {
            of_store = descriptors();
            of_store.retain(|link| link.starts_with(&inside));
            of_store.len() <= 1
        })
        .await;
        world.mends("m").await;
        world.service.stop().await;
        drop((world.client, world.operations, world.hub));
    }
    until(|| tasks() <= before).await;
    let mut now = vec![];
    until(|| {
        now = descriptors();
        now.len() <= open.len()
    })
    .await;
    open.sort();
    now.sort();
    assert_eq!(now.len(), open.len(), "{open:?} and {now:?}");
}
