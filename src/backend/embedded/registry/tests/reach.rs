use super::*;
use crate::backend::embedded::registry::guard::{Guard, Refused, Way};

#[tokio::test]
async fn only_listed_registries_are_asked() {
    let double = Double::start(|_| Answer::ok(manifest())).await;
    let client = client_in(settings(&["hf.co".to_owned()]), World::default().real());
    let fault = client
        .manifest(&name(&double.host()), Reference::Tag, false)
        .await
        .unwrap_err();
    assert_eq!(
        (fault.error.kind, fault.retry),
        (Kind::RegistryNotAllowed, Retry::Never)
    );
    let wanted = format!("--allow-registry={}", double.host());
    assert!(fault.error.message.contains(&wanted), "{}", fault.error.message);
    assert_eq!(double.lines(), [""; 0]);
}

#[tokio::test]
async fn plain_http_wants_the_list_and_the_caller() {
    let double = Double::start(|_| Answer::ok(manifest())).await;
    let name = name(&double.host());
    for (host, insecure, wanted) in [
        (double.host(), true, "is not listed for plain http"),
        (plain(&double), false, "ask with `insecure`"),
    ] {
        let client = client_in(settings(&[host]), World::default().real());
        let fault = client.manifest(&name, Reference::Tag, insecure).await.unwrap_err();
        assert_eq!(fault.error.kind, Kind::RegistryNotAllowed);
        assert!(fault.error.message.contains(wanted), "{}", fault.error.message);
    }
    assert_eq!(double.lines(), [""; 0]);
    client(&double).manifest(&name, Reference::Tag, true).await.unwrap();
}

#[tokio::test]
async fn a_listed_name_may_have_any_address() {
    let double = Double::start(|_| Answer::ok(manifest())).await;
    let host = format!("registry.test:{}", double.address.port());
    let net = World::default().name("registry.test", &[&["127.0.0.1"]]).real();
    let client = client_in(settings(&[format!("http://{host}")]), net);
    client.manifest(&name(&host), Reference::Tag, true).await.unwrap();
}

#[tokio::test]
async fn literals_that_are_not_public_are_not_connected() {
    let target = Double::start(|_| Answer::ok(manifest())).await;
    let port = target.address.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "[fd00::1]",
        "[fe80::1]",
        "localhost",
        "LOCALHOST.",
        "x.localhost",
    ] {
        let url = format!("https://{host}:{port}/v2/x?signature=SECRET");
        let double = Double::start(move |_| Answer::redirect(url.clone())).await;
        let (kind, message) = refused(&client(&double), &double).await;
        assert_eq!(kind, Kind::RegistryNotAllowed, "{host}: {message}");
        assert!(
            message.contains("not globally routable") && !message.contains("SECRET"),
            "{message}"
        );
    }
    assert_eq!(target.lines(), [""; 0]);
}

#[tokio::test]
async fn a_name_with_no_public_address_is_not_connected() {
    let target = Double::start(|_| Answer::ok(manifest())).await;
    let url = format!("https://evil.test:{}/", target.address.port());
    let double = Double::start(move |_| Answer::redirect(url.clone())).await;
    let net = World::default()
        .name("evil.test", &[&["127.0.0.1", "::1", "10.0.0.1"]])
        .real();
    let (kind, message) = refused(&client_in(settings(&[plain(&double)]), net), &double).await;
    assert_eq!(kind, Kind::RegistryNotAllowed, "{message}");
    assert!(message.contains("`evil.test:"), "{message}");
    assert_eq!(target.lines(), [""; 0]);
}

/// 127.0.0.1 stands for the world, and 127.0.0.2 for what must not be reached.
#[tokio::test]
async fn a_name_that_changes_is_looked_at_each_time() {
    let authority = Authority::new();
    let tls = authority.server("cdn.test", &[]);
    let target = Double::start_tls(tls, |_| Answer::ok(manifest()).then_close()).await;
    let url = format!("https://cdn.test:{}/", target.address.port());
    let double = Double::start(move |_| Answer::redirect(url.clone())).await;
    let answers: [&[&str]; 2] = [&["127.0.0.2", "127.0.0.1"], &["127.0.0.2"]];
    let net = World::default().name("cdn.test", &answers).with_public_loopback();
    let mut settings = settings(&[plain(&double)]);
    settings.ca_file = Some(authority.path());
    let client = client_in(settings, net);
    fetch(&client, &double).await.unwrap();
    let (kind, message) = refused(&client, &double).await;
    assert_eq!(kind, Kind::RegistryNotAllowed, "{message}");
    assert_eq!(target.seen().len(), 1);
}

#[test]
fn the_connected_address_is_looked_at_once_more() {
    let guard = Guard::new(&settings(&[]), Net::system());
    let loopback = Some(IpAddr::from([127, 0, 0, 1]));
    assert_eq!(guard.connected(Way::Public, loopback), Err(Refused::NotPublic));
    assert_eq!(guard.connected(Way::Listed, loopback), Ok(()));
    assert_eq!(guard.connected(Way::Public, Some(IpAddr::from([1, 1, 1, 1]))), Ok(()));
    let proxied = Settings {
        proxy: Some("http://127.0.0.1:3128".to_owned()),
        ..settings(&[])
    };
    let guard = Guard::new(&proxied, Net::system());
    assert_eq!(guard.connected(Way::Public, loopback), Ok(()), "it is the proxy's");
}

#[tokio::test]
async fn a_proxy_is_used_wherever_it_is_and_literals_are_still_looked_at() {
    let proxy = Double::start(|seen| match seen.path.as_str() {
        "http://registry.test/v2/library/tiny/manifests/latest" => Answer::ok(manifest()),
        _ => Answer::redirect("https://10.0.0.1/x"),
    })
    .await;
    let mut settings = settings(&["http://registry.test".to_owned()]);
    settings.proxy = Some(plain(&proxy));
    let client = client_in(settings, World::default().real());
    client
        .manifest(&name("registry.test"), Reference::Tag, true)
        .await
        .unwrap();
    let other = "registry.test/library/other:latest".parse().unwrap();
    let fault = client.manifest(&other, Reference::Tag, true).await.unwrap_err();
    assert_eq!(fault.error.kind, Kind::RegistryNotAllowed);
    assert_eq!(proxy.seen().len(), 2);
}
