//! What each request carries, and the road that it takes.

use std::{fs, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Request, metadata::MetadataValue, transport::Channel};

use super::{
    calls::{self, Client},
    ground,
    ollama_double::{Double, Route},
    support::{soon, v1},
    world::{Engine, World, tiny},
};

/// A header of the last list.
fn header(world: &World, name: &str) -> Option<String> {
    let state = world.ground.double().state();
    let value = state.heads[&Route::Tags].get(name)?;
    Some(value.to_str().unwrap().to_owned())
}

/// A list by a caller who says who he is and whom he means: an Ollama learns nothing of either.
async fn list(world: &World) -> Result<(), tonic::Status> {
    let address = format!("http://{}", world.service.address);
    let endpoint = Channel::from_shared(address).unwrap();
    let endpoint = endpoint.origin("http://callers.example:7".parse().unwrap());
    let mut client = Client::new(endpoint.connect().await.unwrap());
    let mut request = Request::new(v1::ListRequest::default());
    let secret = MetadataValue::from_static("Bearer of-the-caller");
    request.metadata_mut().insert("authorization", secret.clone());
    request.metadata_mut().insert("x-team", secret);
    soon(client.list(request)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_those_of_the_file_as_it_is_now() {
    let (ground, _) = ground().await;
    let file = ground.home.path("headers");
    fs::write(&file, "# for the proxy\nAuthorization: Bearer one\n").unwrap();
    let world = ground.start_with(&[format!("--header-file={}", file.display())]).await;
    list(&world).await.unwrap();
    assert_eq!(header(&world, "authorization").unwrap(), "Bearer one");
    fs::write(&file, "Authorization: Bearer two\nX-Engine: yes\n").unwrap();
    list(&world).await.unwrap();
    assert_eq!(header(&world, "authorization").unwrap(), "Bearer two");
    assert_eq!(header(&world, "x-engine").unwrap(), "yes");
    assert_eq!(header(&world, "x-team"), None);
    // Long work and bodies carry them too.
    world.create("m", &tiny(0)).await.unwrap();
    for route in [Route::HeadBlob, Route::PostBlob, Route::Create] {
        let state = world.ground.double().state();
        assert_eq!(state.heads[&route]["authorization"], "Bearer two", "{route:?}");
    }
    // One that is gone is told, and nothing is asked without it.
    fs::remove_file(&file).unwrap();
    let asked = world.ground.double().asked(Route::Create);
    let status = world.create("n", &tiny(1)).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::Unavailable, "BACKEND_UNREACHABLE"),
        "{status:?}"
    );
    assert!(status.message().contains("--header-file"), "{status:?}");
    assert_eq!(world.ground.double().asked(Route::Create), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ollama_is_called_by_its_own_name() {
    let (ground, _) = ground().await;
    let world = ground.start().await;
    list(&world).await.unwrap();
    let address = world.ground.double().address().to_string();
    assert_eq!(header(&world, "host").unwrap(), address);
    assert_eq!(header(&world, "authorization"), None);
    assert_eq!(header(&world, "x-team"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ollama_behind_tls_is_trusted_by_the_systems_certificates() {
    let names = vec!["127.0.0.1".to_owned()];
    let own = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    for trusted in [true, false] {
        let (mut ground, _) = ground().await;
        ground.engine = Engine::Double(Double::start_behind(Some(tls.clone())).await);
        let pem = ground.home.path("authorities.pem");
        let trust = if trusted { own.cert.pem() } else { String::new() };
        fs::write(&pem, trust).unwrap();
        ground
            .variables
            .push(("SSL_CERT_FILE".to_owned(), pem.display().to_string()));
        let world = ground.start().await;
        let made = world.create("m", &tiny(0)).await;
        if trusted {
            assert!(made.unwrap().changed);
            assert_eq!(world.list().await.len(), 1);
            continue;
        }
        let status = made.unwrap_err();
        assert_eq!(
            calls::told(&status),
            calls::is(Code::Unavailable, "BACKEND_UNREACHABLE"),
            "{status:?}"
        );
        assert!(status.message().contains("certificate"), "{status:?}");
        assert!(world.ground.double().state().asked.is_empty());
    }
}
