use super::*;

#[tokio::test]
async fn five_redirects_are_followed_and_no_sixth() {
    for (hops, good) in [(5, true), (6, false)] {
        let double = Double::start(move |seen| match seen.path.strip_prefix("/hop/") {
            None => Answer::redirect("/hop/1"),
            Some(hop) if hop == hops.to_string() => Answer::ok(manifest()),
            Some(hop) => Answer::redirect(format!("/hop/{}", hop.parse::<u32>().unwrap() + 1)),
        })
        .await;
        match fetch(&client(&double), &double).await {
            Ok(_) => assert!(good),
            Err(fault) => assert!(!good && fault.error.kind == Kind::Protocol, "{fault:?}"),
        }
        assert_eq!(double.seen().len(), 6);
    }
}

#[tokio::test]
async fn plain_http_leads_to_listed_plain_http_only() {
    let target = Double::start(|_| Answer::ok(manifest())).await;
    let url = format!("http://localhost:{}/there", target.address.port());
    let location = url.clone();
    let double = Double::start(move |_| Answer::redirect(location.clone())).await;
    let net = || World::default().name("localhost", &[&["127.0.0.1"]]).real();
    let (kind, message) = refused(&client_in(settings(&[plain(&double)]), net()), &double).await;
    assert_eq!(kind, Kind::RegistryNotAllowed, "{message}");
    assert_eq!(target.lines(), [""; 0]);
    let listed = url.strip_suffix("/there").unwrap().to_owned();
    let client = client_in(settings(&[plain(&double), listed]), net());
    fetch(&client, &double).await.unwrap();
    assert_eq!(target.lines(), ["GET /there"]);
}

#[tokio::test]
async fn https_never_leads_to_plain_http() {
    let authority = Authority::new();
    let target = Double::start(|_| Answer::ok(manifest())).await;
    let url = plain(&target);
    let double = Double::start_tls(authority.server("registry.test", &[]), move |_| {
        Answer::redirect(url.clone())
    })
    .await;
    let host = format!("registry.test:{}", double.address.port());
    let mut settings = settings(&[host.clone(), plain(&target)]);
    settings.ca_file = Some(authority.path());
    let net = World::default().name("registry.test", &[&["127.0.0.1"]]).real();
    let fault = client_in(settings, net)
        .manifest(&name(&host), Reference::Tag, false)
        .await
        .unwrap_err();
    assert_eq!(
        (fault.error.kind, fault.retry),
        (Kind::RegistryNotAllowed, Retry::Never)
    );
    assert_eq!(target.lines(), [""; 0]);
}

#[tokio::test]
async fn plain_http_may_lead_to_public_https() {
    let authority = Authority::new();
    let target = Double::start_tls(authority.server("cdn.test", &[]), |_| Answer::ok(manifest())).await;
    let url = format!(
        "https://user:word@cdn.test:{}/signed?key=value#part",
        target.address.port()
    );
    let double = Double::start(move |_| Answer::redirect(url.clone())).await;
    let mut settings = settings(&[plain(&double)]);
    settings.ca_file = Some(authority.path());
    let net = World::default()
        .name("cdn.test", &[&["127.0.0.1"]])
        .with_public_loopback();
    fetch(&client_in(settings, net), &double).await.unwrap();
    let [seen] = target.seen().try_into().unwrap();
    assert_eq!(seen.path, "/signed?key=value");
    assert_eq!(seen.header("authorization"), None, "a URL's user is not ours");
    assert_eq!(seen.header("referer"), None);
}

#[tokio::test]
async fn credentials_stay_at_home() {
    let target = Double::start(|_| Answer::ok(manifest())).await;
    let away = plain(&target);
    let double = Double::start(move |seen| match (seen.header("authorization"), seen.path.as_str()) {
        (None, _) => Answer::new(401).header("www-authenticate", "Basic realm=\"x\""),
        (Some(_), "/here") => Answer::redirect(away.clone()),
        (Some(_), _) => Answer::redirect("/here"),
    })
    .await;
    let file = auth_file(&double.host(), USER);
    let mut settings = settings(&[plain(&double), plain(&target)]);
    settings.auth_file = Some(file.path().to_owned());
    fetch(&client_in(settings, World::default().real()), &double)
        .await
        .unwrap();
    let [first, second, here] = double.seen().try_into().unwrap();
    assert_eq!(first.header("authorization"), None, "not before they are wanted");
    assert_eq!(second.header("authorization"), Some(BASIC));
    assert_eq!(
        (here.path.as_str(), here.header("authorization")),
        ("/here", Some(BASIC))
    );
    let [away] = target.seen().try_into().unwrap();
    assert_eq!(away.header("authorization"), None);
}

#[tokio::test]
async fn credentials_do_not_come_back_from_elsewhere() {
    let back = Arc::new(Mutex::new(String::new()));
    let location = Arc::clone(&back);
    let target = Double::start(move |_| Answer::redirect(location.lock().unwrap().clone())).await;
    let away = plain(&target);
    let double = Double::start(move |seen| match (seen.header("authorization"), seen.path.as_str()) {
        (_, "/back") => Answer::ok(manifest()),
        (None, _) => Answer::new(401).header("www-authenticate", "Basic realm=\"x\""),
        (Some(_), _) => Answer::redirect(away.clone()),
    })
    .await;
    *back.lock().unwrap() = format!("{}/back", plain(&double));
    let file = auth_file(&double.host(), USER);
    let mut settings = settings(&[plain(&double), plain(&target)]);
    settings.auth_file = Some(file.path().to_owned());
    fetch(&client_in(settings, World::default().real()), &double)
        .await
        .unwrap();
    assert_eq!(double.seen().last().unwrap().header("authorization"), None);
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_no_answer() {
    for answer in [
        Answer::new(307),
        Answer::redirect("ftp://127.0.0.1/x"),
        Answer::redirect("https://"),
        Answer::redirect("file:///etc/passwd"),
        Answer::redirect(format!("/{}", "long".repeat(5000))),
    ] {
        let double = Double::start(move |_| answer.clone()).await;
        assert_eq!(refused(&client(&double), &double).await.0, Kind::Protocol);
        assert_eq!(double.seen().len(), 1);
    }
}
