//! Callers' paths lead beneath the roots, to regular files, and nowhere else.

use std::{fs, fs::File, os::fd::AsRawFd as _, os::unix::net::UnixListener};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{
    scene::{Answer, Places, SECRET, Scene, adapter, answer, fields, model, split},
    support::*,
};

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

/// A create of the model that lies in the root, with an adapter.
fn adapted(scene: &Scene, adapter: &str) -> v1::CreateFromPathRequest {
    let options = v1::ImportOptions {
        adapter_paths: vec![adapter.to_owned()],
        ..Default::default()
    };
    v1::CreateFromPathRequest {
        import_options: Some(options),
        ..create("m", &scene.root("good.gguf"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_the_roots_the_answer_is_the_same_whether_it_exists() {
    let mut scene = Scene::new().await;
    let secret = scene.beside(&format!("{SECRET}.gguf"));
    let opened = File::open(&secret).unwrap();
    scene.link("..", "up");
    scene.link(&secret, "absolute");
    scene.link(scene.beside("none.gguf"), "absolute-none");
    scene.link(format!("../{SECRET}.gguf"), "relative");
    scene.link("../none.gguf", "relative-none");
    scene.link("relative", "twice");
    scene.link("/dev/zero", "device");
    scene.link("/dev/none", "device-none");
    scene.link(format!("/proc/self/fd/{}", opened.as_raw_fd()), "magic");
    scene.link("/proc/self/fd/999999", "magic-none");
    scene.put("good.gguf", &model(1));
    // A link that leads out and back in says where the root lies.
    scene.link(scene.root("good.gguf"), "out-and-back");
    scene.link("../root/good.gguf", "up-and-back");
    let (root, base) = (scene.root(""), scene.beside(""));
    let (root, base) = (root.to_str().unwrap(), base.to_str().unwrap());
    let paths = [
        format!("{base}{SECRET}.gguf"),
        format!("{base}none.gguf"),
        format!("{base}none/none.gguf"),
        base.to_owned(),
        "/".to_owned(),
        // The name of the root and more is not beneath it.
        format!("{}2/good.gguf", root.trim_end_matches('/')),
        format!("{root}absolute"),
        format!("{root}absolute-none"),
        format!("{root}relative"),
        format!("{root}relative-none"),
        format!("{root}twice"),
        format!("{root}up/{SECRET}.gguf"),
        format!("{root}up/none.gguf"),
        format!("{root}up"),
        format!("{root}device"),
        format!("{root}device-none"),
        format!("{root}magic"),
        format!("{root}magic-none"),
        format!("{root}out-and-back"),
        format!("{root}up-and-back"),
        "/dev/zero".to_owned(),
        "/dev/null".to_owned(),
        "/dev/none".to_owned(),
        format!("/proc/self/fd/{}", opened.as_raw_fd()),
        "/proc/self/fd/999999".to_owned(),
        "/etc/passwd".to_owned(),
        "/etc/none".to_owned(),
    ];
    let mut first: Option<Answer> = None;
    for path in paths {
        for request in [create("m", Path::new(&path)), adapted(&scene, &path)] {
            let status = scene.refused(request, Code::PermissionDenied, "PATH_NOT_ALLOWED").await;
            let answer = answer(&status);
            assert_eq!(*first.get_or_insert_with(|| self::answer(&status)), answer, "{path}");
        }
    }
    // Two dots are refused as text, wherever they lead.
    let mut first: Option<Answer> = None;
    for path in [
        format!("{root}../{SECRET}.gguf"),
        format!("{root}../none.gguf"),
        format!("{root}none/../../{SECRET}.gguf"),
        format!("{root}up/../good.gguf"),
        format!("{root}../root/good.gguf"),
        format!("{root}.."),
        "/../etc/passwd".to_owned(),
    ] {
        for request in [create("m", Path::new(&path)), adapted(&scene, &path)] {
            let status = scene.refused(request, Code::PermissionDenied, "PATH_NOT_ALLOWED").await;
            let answer = answer(&status);
            assert_eq!(*first.get_or_insert_with(|| self::answer(&status)), answer, "{path}");
        }
    }
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_none_is_a_fault_of_the_request() {
    let mut scene = Scene::new().await;
    let good = scene.put("good.gguf", &model(1));
    let good = good.to_str().unwrap();
    for path in [
        String::new(),
        "good.gguf".to_owned(),
        "./good.gguf".to_owned(),
        "~/good.gguf".to_owned(),
        format!("file://{good}"),
        format!("{good}\0"),
        format!("{good}\0/../{SECRET}"),
        "\0".to_owned(),
        format!("/{}", "x".repeat(4096)),
    ] {
        let request = create("m", Path::new(&path));
        let status = scene.refused(request, Code::InvalidArgument, "REQUEST_INVALID").await;
        assert_eq!(fields(&status), ["path"], "{path:?}");
        let request = adapted(&scene, &path);
        let status = scene.refused(request, Code::InvalidArgument, "REQUEST_INVALID").await;
        assert_eq!(fields(&status), ["import_options.adapter_paths[0]"], "{path:?}");
    }
    // Within what a path may be, and longer than a name may be: the reason is told whole.
    let request = create("m", &scene.root(&"x".repeat(3000)));
    let status = scene
        .refused(request, Code::FailedPrecondition, "PATH_NOT_USABLE")
        .await;
    assert!(
        status.message().ends_with("is longer than a file name may be"),
        "{status:?}"
    );
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_regular_files_are_read_and_none_makes_us_wait() {
    let mut places = Places::new();
    places.roots.extend(["/dev".into(), "/proc".into()]);
    let mut scene = Scene::at(places).await;
    let opened = File::open(scene.beside(&format!("{SECRET}.gguf"))).unwrap();
    scene.put("good.gguf", &model(1));
    let _socket = UnixListener::bind(scene.root("socket")).unwrap();
    fifo(&scene.root("pipe"));
    fs::create_dir(scene.root("folder.gguf")).unwrap();
    scene.link("pipe", "link-to-pipe");
    scene.link("loop-b", "loop-a");
    scene.link("loop-a", "loop-b");
    fs::create_dir(scene.root("pipes")).unwrap();
    fifo(&scene.root("pipes/model.gguf"));
    let (process, fd) = (std::process::id(), opened.as_raw_fd());
    for (path, words) in [
        (scene.root("pipe"), "is a named pipe"),
        (scene.root("link-to-pipe"), "is a named pipe"),
        (scene.root("pipes"), "is a named pipe"),
        (scene.root("socket"), "is a socket"),
        (scene.root("folder.gguf"), "has no GGUF"),
        (scene.root("loop-a"), "too many links"),
        ("/dev/zero".into(), "is a device"),
        ("/dev/null".into(), "is a device"),
        // Even where the operator lets callers into /proc, no link is followed that is none of a file system.
        (format!("/proc/{process}/fd/{fd}").into(), "no link of a file system"),
        (
            format!("/proc/{process}/root/etc/passwd").into(),
            "no link of a file system",
        ),
    ] {
        for request in [create("m", &path), adapted(&scene, path.to_str().unwrap())] {
            let status = scene
                .refused(request, Code::FailedPrecondition, "PATH_NOT_USABLE")
                .await;
            assert!(status.message().contains(words), "{}: {status:?}", path.display());
        }
    }
    let below = scene.root("good.gguf/model.gguf");
    scene
        .refused(create("m", &below), Code::NotFound, "PATH_NOT_FOUND")
        .await;
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_within_a_root_work_and_so_does_a_root_that_is_one() {
    let mut places = Places::new();
    let base = places.base.path().to_owned();
    std::os::unix::fs::symlink("root", base.join("link")).unwrap();
    places.roots = vec![base.join("link")];
    let mut scene = Scene::at(places).await;
    scene.put("folder/good.gguf", &model(1));
    scene.link("folder", "way");
    scene.link("way/good.gguf", "file.gguf");
    for path in ["folder/good.gguf", "way/good.gguf", "file.gguf", "way"] {
        // As the operator wrote it, and as a caller sees it who resolved it.
        for root in ["link", "root"] {
            let path = base.join(root).join(path);
            let result = created(&mut scene.client, create("m", &path)).await.unwrap();
            assert_eq!(result.model.unwrap().parameter_count, Some(512));
        }
    }
    // Whoever turns the link later turns nothing: the folder that was named is the root.
    fs::create_dir(base.join("other")).unwrap();
    fs::write(base.join("other/new.gguf"), model(2)).unwrap();
    fs::remove_file(base.join("link")).unwrap();
    std::os::unix::fs::symlink("other", base.join("link")).unwrap();
    let request = create("n", &base.join("link/new.gguf"));
    scene.refused(request, Code::NotFound, "PATH_NOT_FOUND").await;
    let request = create("n", &base.join("other/new.gguf"));
    scene.refused(request, Code::PermissionDenied, "PATH_NOT_ALLOWED").await;
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adapters_and_parts_obey_the_same_rules() {
    let mut scene = Scene::new().await;
    let out = format!("../../{SECRET}.gguf");
    scene.put("good.gguf", &model(1));
    fs::create_dir(scene.root("adapter")).unwrap();
    scene.link(&out, "adapter/link.gguf");
    let request = adapted(&scene, scene.root("adapter").to_str().unwrap());
    scene.refused(request, Code::PermissionDenied, "PATH_NOT_ALLOWED").await;
    let request = adapted(&scene, scene.root("none.gguf").to_str().unwrap());
    scene.refused(request, Code::NotFound, "PATH_NOT_FOUND").await;

    // The only model of a folder.
    let request = create("m", &scene.root("adapter"));
    scene.refused(request, Code::PermissionDenied, "PATH_NOT_ALLOWED").await;

    // A part beside the named one, whichever way the model is named.
    fs::create_dir(scene.root("parts")).unwrap();
    let first = split(&scene.root("parts"), 3);
    let second = scene.root("parts/m-00002-of-00003.gguf");
    let good = fs::read(&second).unwrap();
    for named in [first.clone(), scene.root("parts")] {
        let replace = || fs::remove_file(&second).unwrap();
        replace();
        scene.link(&out, "parts/m-00002-of-00003.gguf");
        let request = create("m", &named);
        scene.refused(request, Code::PermissionDenied, "PATH_NOT_ALLOWED").await;
        replace();
        scene.link("../../none.gguf", "parts/m-00002-of-00003.gguf");
        let request = create("m", &named);
        scene.refused(request, Code::PermissionDenied, "PATH_NOT_ALLOWED").await;
        replace();
        fifo(&second);
        let request = create("m", &named);
        let status = scene
            .refused(request, Code::FailedPrecondition, "PATH_NOT_USABLE")
            .await;
        assert!(status.message().contains("is a named pipe"), "{status:?}");
        replace();
        fs::create_dir(&second).unwrap();
        let request = create("m", &named);
        let status = scene
            .refused(request, Code::FailedPrecondition, "PATH_NOT_USABLE")
            .await;
        assert!(status.message().contains("m-00002-of-00003.gguf"), "{status:?}");
        fs::remove_dir(&second).unwrap();
        fs::write(&second, &good).unwrap();
    }
    let result = created(&mut scene.client, create("m", &first)).await.unwrap();
    assert_eq!(result.model.unwrap().parameter_count, Some(96));
    let path = scene.put("adapter.gguf", &adapter());
    let mut request = adapted(&scene, path.to_str().unwrap());
    request.model = "adapted".into();
    created(&mut scene.client, request).await.unwrap();
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_ready_obeys_them_too() {
    let scene = Scene::new().await;
    let mut client = scene.client.clone();
    let mut ensure = async |path: String| {
        let request = v1::EnsureReadyRequest {
            model: "m".into(),
            path,
            ..Default::default()
        };
        let mut stream = soon(client.ensure_ready(request)).await?.into_inner();
        while soon(stream.message()).await?.is_some() {}
        Ok::<_, Status>(())
    };
    let link = scene.link(format!("../{SECRET}.gguf"), "link");
    let secret = scene.beside(&format!("{SECRET}.gguf"));
    let mut answers = Vec::new();
    for path in [secret, scene.beside("none"), link] {
        let status = ensure(path.display().to_string()).await.unwrap_err();
        assert_eq!(
            (status.code(), &*reason(&status)),
            (Code::PermissionDenied, "PATH_NOT_ALLOWED")
        );
        answers.push(answer(&status));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert!(scene.stored().is_empty());
    scene.alive().await;
}
