//! Models from the caller's files.

use model_control::backend::embedded::RunnerSettings;

use super::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_under_a_root_becomes_a_model_and_nothing_else_does() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tiny = root.path().join("tiny.gguf");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/models/tiny.gguf"), &tiny).unwrap();
    std::fs::write(root.path().join("bad.gguf"), b"GGUF").unwrap();
    // Whatever this machine has.
    let nothing = RunnerSettings {
        program: Some(root.path().join("no-such-program")),
        ..RunnerSettings::default()
    };
    let engine = Embedded::open(store.path().join("s")).and_then(|engine| engine.with_runner(nothing));
    let engine = Arc::new(engine.unwrap());
    let service = Service::start(engine, Some(root.path())).await;
    let mut client = service.client().await;
    let result = created(&mut client, create("m", &tiny)).await.unwrap();
    assert!(result.changed);
    assert_eq!(result.model.unwrap().parameter_count, Some(115_008));
    assert!(
        !created(&mut client, create("m", &tiny)).await.unwrap().changed,
        "the same again is nothing to do"
    );
    for (path, code, wanted) in [
        (root.path().join("none.gguf"), Code::NotFound, "PATH_NOT_FOUND"),
        (
            root.path().join("bad.gguf"),
            Code::InvalidArgument,
            "MODEL_FILE_INVALID",
        ),
        ("/etc/passwd".into(), Code::PermissionDenied, "PATH_NOT_ALLOWED"),
        ("/no/such/file".into(), Code::PermissionDenied, "PATH_NOT_ALLOWED"),
        (root.path().join("../x"), Code::PermissionDenied, "PATH_NOT_ALLOWED"),
        ("relative".into(), Code::InvalidArgument, "REQUEST_INVALID"),
    ] {
        let status = created(&mut client, create("n", &path)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (code, wanted),
            "{}",
            path.display()
        );
    }
    let listed = soon(client.list(v1::ListRequest::default()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.models.len(), 1);
    let status = created(&mut client, create("n:cloud", &tiny)).await.unwrap_err();
    assert_eq!(reason(&status), "MODEL_NAME_INVALID");
    let ensure = v1::EnsureReadyRequest {
        model: "m".into(),
        level: v1::Level::Loaded.into(),
        ..Default::default()
    };
    let status = soon(client.ensure_ready(ensure)).await.unwrap_err();
    assert_eq!(reason(&status), "ENGINE_MISSING_PART");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_makes_no_operation() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = Arc::new(Embedded::open(store.path().join("s")).unwrap());
    let service = Service::start(engine, Some(root.path())).await;
    let mut client = service.client().await;
    let none = root.path().join("none.gguf");
    let status = soon(client.create_from_path(create("m", &none))).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::NotFound, "PATH_NOT_FOUND")
    );
    let listed = soon(service.operations().await.list(v1::OperationsListRequest::default())).await;
    assert_eq!(listed.unwrap().into_inner().operations, []);
    service.stop().await;
}
