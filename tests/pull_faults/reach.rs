//! Where a registry sends us.

use super::{
    calls,
    double::{Answer, Authority, Seen},
    hub::{Hub, gguf},
    support::*,
    world::{Ways, World},
};

/// Names of this system that stand for loopback.
fn local_names() -> Vec<String> {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let lines = hosts.lines().filter_map(|line| line.split('#').next());
    let local = lines.filter(|line| line.starts_with("127.") || line.starts_with("::1"));
    let names = local.flat_map(|line| line.split_whitespace().skip(1));
    names.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_where_nobody_should_go_is_not_followed() {
    // Nobody is to connect: it would see that.
    let other = Hub::start().await;
    let port = other.double.address.port();
    let mut targets = vec![
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        "http://example.com/".to_owned(),
    ];
    let names = local_names()
        .into_iter()
        .chain(["localhost.".to_owned(), "LOCALHOST".to_owned()]);
    let literals = [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "[fe80::1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "[fd00::1]",
        "224.0.0.1",
        "255.255.255.255",
    ];
    let hosts = literals.into_iter().map(str::to_owned).chain(names);
    targets.extend(hosts.map(|host| format!("https://{host}:{port}/x?signature=secret")));
    let world = World::stocked().await;
    for what in ["/blobs/", "/manifests/"] {
        for to in &targets {
            let to = to.clone();
            world
                .hub
                .script(move |seen| seen.path.contains(what).then(|| Answer::redirect(to.clone())));
            world.fails("m", Code::PermissionDenied, "REGISTRY_NOT_ALLOWED").await;
        }
    }
    world.mends("m").await;
    world.service.stop().await;
    assert_eq!(other.double.lines(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_that_leads_nowhere_is_told() {
    for what in ["/manifests/", "/blobs/"] {
        for to in ["", "ftp://example.com/", "\u{7f}"] {
            let answer = Answer::redirect(to);
            let nowhere = move |seen: &Seen| seen.path.contains(what).then(|| answer.clone());
            let world = World::stocked().await;
            world.hub.script(nowhere);
            let status = world.pull(world.request("m")).await.unwrap_err();
            assert_eq!(
                calls::told(&status),
                calls::is(Code::Internal, "BACKEND_PROTOCOL"),
                "{to:?}"
            );
            world.mends("m").await;
            world.service.stop().await;
        }
        let round = move |seen: &Seen| seen.path.contains(what).then(|| Answer::redirect(seen.path.clone()));
        World::fault(round, Code::Internal, "BACKEND_PROTOCOL").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_host_may_be_redirected_to() {
    let other = Hub::start().await;
    other.put("m", &gguf(1, 200));
    let place = format!("http://localhost:{}", other.double.address.port());
    let ways = Ways {
        allow: vec![place.clone()],
        ..Ways::default()
    };
    let world = World::with(ways).await.with_stock().await;
    world.hub.script(move |seen| {
        let to = format!("{place}{}", seen.path);
        seen.path.contains("/blobs/").then(|| Answer::redirect(to))
    });
    assert!(world.pull(world.request("m")).await.unwrap().changed);
    assert_ne!(other.requests("/blobs/"), 0);
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_not_left_for_http() {
    let authority = Authority::new();
    let hub = Hub::start_tls(authority.server("localhost", &["http/1.1"])).await;
    let plain = Hub::start().await;
    plain.put("m", &gguf(1, 200));
    let place = format!("http://{}", plain.double.host());
    let ways = Ways {
        host: Some(format!("localhost:{}", hub.double.address.port())),
        // Though the other is listed.
        allow: vec![place.clone()],
        ca_file: Some(authority.path()),
        ..Ways::default()
    };
    let world = World::before(hub, ways).await.with_stock().await;
    for what in ["/manifests/", "/blobs/"] {
        let place = place.clone();
        world.hub.script(move |seen| {
            let to = format!("{place}{}", seen.path);
            seen.path.contains(what).then(|| Answer::redirect(to))
        });
        world.fails("m", Code::PermissionDenied, "REGISTRY_NOT_ALLOWED").await;
    }
    assert_eq!(plain.double.lines(), [""; 0]);
    world.mends("m").await;
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_elsewhere_is_not_asked() {
    let other = Hub::start().await;
    let realm = format!("http://{}/token", other.double.host());
    let foreign = move |_: &Seen| {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"hub\"");
        Some(Answer::new(401).header("www-authenticate", challenge))
    };
    World::fault(foreign, Code::PermissionDenied, "REGISTRY_NOT_ALLOWED").await;
    assert_eq!(other.double.lines(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_listed_is_not_asked() {
    let other = Hub::start().await;
    other.put("m", &gguf(1, 4));
    let world = World::stocked().await;
    let asked = world.hub.double.lines().len();
    let port = other.double.address.port();
    let plain = |host: &str, insecure| v1::PullRequest {
        insecure,
        ..pull(&format!("{host}/library/m"))
    };
    for request in [
        // Not listed at all: loopback by its number and by its name, and a host of the world.
        plain(&format!("127.0.0.1:{port}"), true),
        plain(&format!("127.0.0.1:{port}"), false),
        plain(&format!("localhost:{port}"), true),
        plain(&format!("localhost:{port}"), false),
        plain("example.com", false),
        // Listed by its number for plain http, and not by its name nor for https.
        plain(&format!("localhost:{}", world.hub.double.address.port()), true),
        plain(&world.host, false),
    ] {
        let (stored, listed) = (world.stored(), world.list().await);
        let status = world.pull(request.clone()).await.unwrap_err();
        assert_eq!(
            calls::told(&status),
            calls::is(Code::PermissionDenied, "REGISTRY_NOT_ALLOWED"),
            "{request:?}"
        );
        world.assert_whole(&stored, &listed).await;
    }
    assert_eq!(other.double.lines(), [""; 0]);
    assert_eq!(world.hub.double.lines().len(), asked);
    world.mends("m").await;
    world.service.stop().await;
}
