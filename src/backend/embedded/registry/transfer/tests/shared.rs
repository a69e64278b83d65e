//! One download a digest, whoever asks.

use super::*;

const SIZE: usize = 60_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_who_join_are_one_to_the_registry() {
    let (scene, remote) = (Scene::new(), Double::good(SIZE));
    let downloads: Vec<_> = (0..100).map(|_| scene.fetch(&remote)).collect();
    for mut download in downloads {
        let mut last = download.state();
        while last.ended.is_none() {
            let next = within(download.changed()).await;
            assert!(next.completed >= last.completed, "it never falls");
            last = next;
        }
        assert_eq!(last.completed, SIZE as u64);
        // False to those who asked when it was there.
        last.ended.unwrap().unwrap();
    }
    scene.check(&remote, true);
    assert_eq!(remote.sent(), SIZE as u64);
}

#[tokio::test]
async fn it_goes_on_while_anybody_wants_it_and_begins_anew_after() {
    let scene = Scene::new();
    let stuck = Double::new(
        SIZE,
        [Act::Serve; 3],
        Act::Refuse(super::super::super::remote::Retry::After(Duration::from_secs(3))),
    );
    let first = scene.fetch(&stuck);
    let mut second = scene.fetch(&stuck);
    within(first.cancel()).await;
    while second.state().completed == 0 {
        within(second.changed()).await;
    }
    assert!(second.state().ended.is_none());
    // Dropped, and at once wanted again: the next waits until the file is free.
    drop(second);
    let good = Double::good(SIZE);
    within(scene.fetch(&good).ended()).await.unwrap();
    scene.check(&good, true);
    assert!(good.sent() < SIZE as u64, "what came before was kept");
}

#[tokio::test]
async fn all_who_joined_learn_of_the_failure_and_may_begin_again() {
    let scene = Scene::new();
    let bad = Double::new(SIZE, [], Act::Refuse(super::super::super::remote::Retry::Never));
    let good = Double::good(SIZE);
    let (mut first, mut second) = (scene.fetch(&bad), scene.fetch(&good));
    within(first.ended()).await.unwrap_err();
    within(second.ended()).await.unwrap_err();
    assert_eq!(good.requests(), 0);
    scene.run(&good).await.unwrap();
}

#[tokio::test]
async fn one_digest_under_two_sizes_is_refused() {
    let (scene, remote) = (Scene::new(), Double::good(SIZE));
    let mut first = scene.fetch(&remote);
    let other = Blob {
        size: 7,
        ..remote.blob()
    };
    let mut second = scene.downloads.fetch(other, Arc::clone(&remote) as _, None);
    assert_eq!(within(second.ended()).await.unwrap_err().kind, Kind::Protocol);
    within(first.ended()).await.unwrap();
    scene.check(&remote, true);
}

#[tokio::test]
async fn room_is_used_as_bytes_land_and_given_back_at_the_end() {
    for act in [Act::Serve, Act::Wrong, Act::Early(0), Act::Validator("\"w\"")] {
        let (scene, size) = (Scene::new(), SIZE as u64);
        let remote = Double::new(SIZE, [Act::Serve; 4], act);
        let room = scene.store.reserve(size).unwrap();
        let mut download = scene
            .downloads
            .fetch(remote.blob(), Arc::clone(&remote) as _, Some(room));
        // Who joins needs none.
        assert_eq!(scene.downloads.needed_room(&remote.blob()), 0);
        let room = scene.store.reserve(size).unwrap();
        drop(
            scene
                .downloads
                .fetch(remote.blob(), Arc::clone(&remote) as _, Some(room)),
        );
        assert_eq!(scene.store.promised(), size);
        while download.state().completed == 0 {
            within(download.changed()).await;
        }
        assert!(scene.store.promised() < size);
        let _either = within(download.ended()).await;
        assert_eq!(scene.store.promised(), 0, "{act:?}");
    }
}

#[test]
fn a_task_that_goes_down_with_its_runtime_leaves_nobody_waiting() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let (scene, remote) = (Scene::new(), Double::new(SIZE, [], Act::Stall(9)));
    let first = runtime();
    let mut download = first.block_on(async { scene.fetch(&remote) });
    drop(first);
    runtime().block_on(within(async {
        while download.changed().await.ended.is_none() {}
        assert_eq!(download.ended().await.unwrap_err().kind, Kind::Internal);
        download.cancel().await;
    }));
    scene.check(&remote, false);
}
