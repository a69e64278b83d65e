//! Tokens that come from another host than the registry's, as those of Docker's hub do.

use super::*;

const TOKEN: &str = r#"{"token":"t0ken","expires_in":300}"#;

/// A registry, the source of its tokens at `auth.test`, and who trusts it. Loopback stands for the world.
struct Scene {
    registry: Double,
    source: Double,
    authority: Authority,
}

impl Scene {
    /// The registry would have us ask for this scope.
    async fn new(scope: &'static str, source: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let authority = Authority::new();
        let source = Double::start_tls(authority.server("auth.test", &[]), source).await;
        let realm = format!("https://auth.test:{}/token", source.address.port());
        let registry = Double::start(move |seen| {
            if seen.header("authorization") == Some("Bearer t0ken") {
                return Answer::ok(manifest());
            }
            let challenge = format!(r#"Bearer realm="{realm}",service="the registry",scope="{scope}""#);
            Answer::new(401).header("www-authenticate", challenge)
        })
        .await;
        Self {
            registry,
            source,
            authority,
        }
    }

    /// `entries` of the file of credentials. The source is a host of the world, unless it is inside.
    fn client(&self, entries: &str, inside: bool) -> (Registry, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!(r#"{{"auths":{{{entries}}}}}"#)).unwrap();
        let mut settings = settings(&[plain(&self.registry)]);
        settings.auth_file = Some(file.path().to_owned());
        settings.ca_file = Some(self.authority.path());
        let world = World::default().name("auth.test", &[&["127.0.0.1"]]);
        let net = if inside {
            world.real()
        } else {
            world.with_public_loopback()
        };
        (client_in(settings, net), file)
    }

    fn of_registry(&self) -> String {
        format!(r#""{}":{USER}"#, self.registry.host())
    }

    fn of_source(&self, entry: &str) -> String {
        format!(r#""auth.test:{}":{entry}"#, self.source.address.port())
    }
}

const OURS: &str = "repository:library/tiny:pull";
/// As the query has it.
const OURS_SENT: &str = "scope=repository%3Alibrary%2Ftiny%3Apull";

#[tokio::test]
async fn a_public_source_gives_a_token_without_the_registrys_credentials() {
    let scene = Scene::new(OURS, |_| Answer::ok(TOKEN)).await;
    let (client, _file) = scene.client(&scene.of_registry(), false);
    fetch(&client, &scene.registry).await.unwrap();
    fetch(&client, &scene.registry).await.unwrap();
    let [seen] = scene.source.seen().try_into().unwrap();
    assert_eq!(seen.header("authorization"), None);
    assert!(seen.path.ends_with(OURS_SENT), "{}", seen.path);
    // Nor do they go to the registry itself, which did not ask for them.
    let sent: Vec<_> = scene
        .registry
        .seen()
        .iter()
        .map(|seen| seen.header("authorization").map(str::to_owned))
        .collect();
    let token = Some("Bearer t0ken".to_owned());
    assert_eq!(sent, [None, token.clone(), token]);
}

#[tokio::test]
async fn a_source_inside_is_not_reached() {
    let scene = Scene::new(OURS, |_| Answer::ok(TOKEN)).await;
    let (client, _file) = scene.client(&scene.of_registry(), true);
    let (kind, message) = refused(&client, &scene.registry).await;
    assert_eq!(kind, Kind::RegistryNotAllowed);
    let way_out = format!("--allow-registry=auth.test:{}", scene.source.address.port());
    assert!(message.contains(&way_out), "{message}");
    assert_eq!(scene.source.lines(), [""; 0]);
}

#[tokio::test]
async fn credentials_of_the_source_itself_are_used_there_and_for_this_repository_only() {
    let scene = Scene::new("repository:others/secret:pull,push", |_| Answer::ok(TOKEN)).await;
    let entries = [
        scene.of_registry(),
        scene.of_source(r#"{"username":"user","password":"other"}"#),
    ]
    .join(",");
    let (client, _file) = scene.client(&entries, false);
    fetch(&client, &scene.registry).await.unwrap();
    let [seen] = scene.source.seen().try_into().unwrap();
    assert_eq!(seen.header("authorization"), Some("Basic dXNlcjpvdGhlcg=="));
    assert!(seen.path.ends_with(OURS_SENT), "{}", seen.path);

    let scene = Scene::new("repository:others/secret:pull,push", |_| Answer::ok(TOKEN)).await;
    let (client, _file) = scene.client(&scene.of_source(r#"{"identitytoken":"refresh"}"#), false);
    fetch(&client, &scene.registry).await.unwrap();
    let [seen] = scene.source.seen().try_into().unwrap();
    assert_eq!((seen.method.as_str(), seen.header("authorization")), ("POST", None));
    assert!(
        seen.body.contains(OURS_SENT) && seen.body.ends_with("refresh_token=refresh"),
        "{}",
        seen.body
    );
}

/// What is meant for the source as it is goes nowhere: not to the registry, nor to a source elsewhere.
#[tokio::test]
async fn a_ready_token_of_the_source_is_no_token_of_the_registry() {
    let scene = Scene::new(OURS, |_| Answer::ok(TOKEN)).await;
    let (client, _file) = scene.client(&scene.of_source(r#"{"registrytoken":"s3cret"}"#), false);
    fetch(&client, &scene.registry).await.unwrap();
    let all = [scene.registry.seen(), scene.source.seen()].concat();
    assert!(
        all.iter().all(|seen| !format!("{seen:?}").contains("s3cret")),
        "{all:?}"
    );
}

#[tokio::test]
async fn a_source_that_sends_us_on_takes_no_credentials_along() {
    let authority = Authority::new();
    let elsewhere = Double::start_tls(authority.server("auth.test", &[]), |_| Answer::ok(TOKEN)).await;
    let to = format!("https://auth.test:{}/", elsewhere.address.port());
    let scene = Scene::new(OURS, move |_| Answer::redirect(to.clone())).await;
    let entries = scene.of_source(USER);
    // Both are trusted.
    let pem = [&authority, &scene.authority].map(|authority| std::fs::read(authority.path()).unwrap());
    std::fs::write(scene.authority.path(), pem.concat()).unwrap();
    let (client, _file) = scene.client(&entries, false);
    fetch(&client, &scene.registry).await.unwrap();
    assert_eq!(scene.source.seen()[0].header("authorization"), Some(BASIC));
    assert_eq!(elsewhere.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn tokens_of_a_listed_source_in_plain_http_come_without_the_registrys_credentials() {
    let source = Double::start(|_| Answer::ok(TOKEN)).await;
    let challenge = format!(r#"Bearer realm="{}/token""#, plain(&source));
    let double = Double::start(move |seen| match seen.header("authorization") {
        Some("Bearer t0ken") => Answer::ok(manifest()),
        _ => Answer::new(401).header("www-authenticate", challenge.clone()),
    })
    .await;
    let file = auth_file(&double.host(), USER);
    let with = |allow: &[String]| {
        let mut settings = settings(allow);
        settings.auth_file = Some(file.path().to_owned());
        client_in(settings, World::default().real())
    };
    let (kind, message) = refused(&with(&[plain(&double)]), &double).await;
    assert_eq!(kind, Kind::RegistryNotAllowed);
    let way_out = format!("--allow-registry={}", plain(&source));
    assert!(message.contains(&way_out), "{message}");
    assert_eq!(source.lines(), [""; 0]);
    fetch(&with(&[plain(&double), plain(&source)]), &double).await.unwrap();
    let [seen] = source.seen().try_into().unwrap();
    assert_eq!(seen.header("authorization"), None);
}
