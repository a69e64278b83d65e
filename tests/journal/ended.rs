//! What has ended is known again, whatever happened to the file meanwhile.

use std::{fs, path::Path};

use model_control::grpc::proto::v1::{DeleteRequest, operation::State};
use tonic::Code;

use super::{
    PROGRAM, client, create, get, list, same,
    service::{Home, Service},
    small_disk, soon, start, state, watch,
};

fn home() -> Home {
    let home = Home::new();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny.gguf");
    fs::copy(tiny, home.model("tiny.gguf")).unwrap();
    fs::write(home.model("broken.gguf"), b"GGUF and no more").unwrap();
    home
}

/// One that succeeded, one that failed, one that was found done.
async fn some(service: &Service, home: &Home) {
    create(service, home, "a", "tiny.gguf").await.unwrap();
    create(service, home, "b", "broken.gguf").await.unwrap_err();
    create(service, home, "a", "tiny.gguf").await.unwrap();
    let request = DeleteRequest {
        model: "a".to_owned(),
        ..Default::default()
    };
    soon(client(service).await.delete(request)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ended_are_listed_again_with_their_results() {
    let home = home();
    let service = start(&home);
    some(&service, &home).await;
    let before = list(&service).await;
    assert_eq!(before.len(), 4);
    // What callers were told outlives a kill that follows at once.
    service.kill();
    let service = start(&home);
    let after = list(&service).await;
    assert_eq!(after.len(), 4);
    for (before, after) in before.iter().zip(&after) {
        same(before, after);
        same(before, &get(&service, &after.operation_id).await.unwrap());
        same(before, &watch(&service, &after.operation_id, 0).await.1);
    }
    service.terminate();

    let mut command = home.command(Path::new(PROGRAM));
    command.arg("--keep-operations=2");
    let service = Service::start(command);
    let kept = list(&service).await;
    assert_eq!(kept.len(), 2);
    same(&before[0], &kept[0]);
    same(&before[1], &kept[1]);
    let gone = get(&service, &before[3].operation_id).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_journal_costs_what_is_broken() {
    let home = home();
    let journal = home.path("state/operations.journal");
    let service = start(&home);
    some(&service, &home).await;
    let before = list(&service).await;
    service.kill();
    let whole = fs::read(&journal).unwrap();

    // Torn in its last line; turned in the middle; nothing of it readable; a line of a later version.
    let mut turned = whole.clone();
    let middle = whole.len() / 2;
    turned[middle..middle + 3].copy_from_slice(b"\0\xff\n");
    let newer = [b"2 what is this\n".as_slice(), &whole].concat();
    let garbage = vec![0xa5; 100_000];
    for (bytes, least) in [(&whole[..whole.len() - 9], 3), (&turned, 3), (&garbage, 0), (&newer, 4)] {
        fs::write(&journal, bytes).unwrap();
        let service = start(&home);
        let said = service
            .said
            .iter()
            .any(|line| line.contains("records of operations were skipped"));
        assert!(said, "{:?}", service.said);
        let ended = |operation: &&_| state(operation) != State::Running && state(operation) != State::Queued;
        let listed = list(&service).await;
        assert!(listed.iter().filter(ended).count() >= least, "{listed:?}");
        // And it records on.
        let id = create(&service, &home, "c", "tiny.gguf").await.unwrap();
        service.kill();
        let service = start(&home);
        assert_eq!(state(&get(&service, &id).await.unwrap()), State::Succeeded);
        service.kill();
        fs::remove_dir_all(home.store("")).unwrap();
    }
    assert_eq!(before.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_goes_on_without_and_takes_over_later() {
    let home = home();
    let first = start(&home);
    let id = create(&first, &home, "a", "tiny.gguf").await.unwrap();
    // On one store there is one service; on one state directory there may be two by mistake.
    let store = format!("--store={}", home.path("other").display());
    let entry = serde_json::json!([{ "name": "one", "framework": "embedded", "backend_argv": [store] }]);
    fs::write(home.path("configs.yaml"), entry.to_string()).unwrap();
    let second = start(&home);
    let process = format!("(process {})", first.pid());
    assert!(
        second.said.iter().any(|line| line.contains(&process)),
        "{:?}",
        second.said
    );
    let own = create(&second, &home, "b", "tiny.gguf").await.unwrap();
    assert_eq!(get(&second, &id).await.unwrap_err().code(), Code::NotFound);
    first.kill();
    soon(async { while get(&second, &id).await.is_err() {} }).await;
    second.terminate();
    let third = start(&home);
    let ids: Vec<_> = list(&third)
        .await
        .into_iter()
        .map(|operation| operation.operation_id)
        .collect();
    assert_eq!(ids, [own, id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_state_directory_it_starts_and_says_so() {
    let home = home();
    fs::write(home.path("state"), b"no folder").unwrap();
    let service = start(&home);
    let said = |line: &&String| line.contains("operations are not recorded");
    assert_eq!(service.said.iter().filter(said).count(), 1, "{:?}", service.said);
    let id = create(&service, &home, "a", "tiny.gguf").await.unwrap();
    // Mended while it runs, it loses nothing.
    fs::remove_file(home.path("state")).unwrap();
    let journal = home.path("state/operations.journal");
    soon(async {
        while !fs::read_to_string(&journal).is_ok_and(|text| text.contains(&id)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    service.kill();
    let service = start(&home);
    assert_eq!(state(&get(&service, &id).await.unwrap()), State::Succeeded);
}

#[test]
fn a_full_disk_loses_nothing() {
    small_disk::on_a_small_disk("ended::on_a_full_disk", "size=1m");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on a disk of its own"]
async fn on_a_full_disk() {
    let Some(disk) = small_disk::disk() else { return };
    let home = home();
    std::os::unix::fs::symlink(&disk, home.path("state")).unwrap();
    let service = start(&home);
    let mut ids = vec![create(&service, &home, "a", "tiny.gguf").await.unwrap()];
    small_disk::fill(&disk, 0);
    // More than what is left of the last page.
    for number in 0..10 {
        ids.push(
            create(&service, &home, &format!("b{number}"), "tiny.gguf")
                .await
                .unwrap(),
        );
    }
    let journal = disk.join("operations.journal");
    let written = || {
        let text = fs::read_to_string(&journal).unwrap();
        ids.iter().filter(|id| text.contains(&format!(" e {id} "))).count()
    };
    assert!(written() < ids.len());
    fs::remove_file(disk.join("other")).unwrap();
    soon(async {
        while written() < ids.len() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    service.kill();
    let service = start(&home);
    for id in &ids {
        assert_eq!(state(&get(&service, id).await.unwrap()), State::Succeeded);
    }
}

#[test]
fn a_read_only_state_directory_loses_nothing() {
    small_disk::on_a_small_disk("ended::on_a_read_only_disk", "size=4m");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on a disk of its own"]
async fn on_a_read_only_disk() {
    let Some(disk) = small_disk::disk() else { return };
    let home = home();
    let state_dir = disk.join("state");
    fs::create_dir(&state_dir).unwrap();
    std::os::unix::fs::symlink(&state_dir, home.path("state")).unwrap();
    let service = start(&home);
    let before = create(&service, &home, "a", "tiny.gguf").await.unwrap();
    service.terminate();

    small_disk::make_read_only(&state_dir);
    let service = start(&home);
    let said = |line: &&String| line.contains("operations are not recorded");
    assert_eq!(service.said.iter().filter(said).count(), 1, "{:?}", service.said);
    let meanwhile = create(&service, &home, "b", "tiny.gguf").await.unwrap();
    assert_eq!(state(&get(&service, &meanwhile).await.unwrap()), State::Succeeded);
    small_disk::make_writable(&state_dir);
    soon(async { while get(&service, &before).await.is_err() {} }).await;
    service.kill();

    let service = start(&home);
    for id in [&before, &meanwhile] {
        assert_eq!(state(&get(&service, id).await.unwrap()), State::Succeeded);
    }
}
