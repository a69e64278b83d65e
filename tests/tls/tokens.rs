//! Tokens, on a listener in plain text: they hold with and without TLS.

use model_control::grpc::proto::v1::{self, model_control_client::ModelControlClient};
use tonic::{Code, Request, transport::Channel};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt as _;

use super::{
    client::{delete, invalid, list, live, missing, not_allowed, not_found, plain, told},
    scene::{Mount, Running, TOKENS, soon},
};

async fn reflect(channel: &Channel, token: Option<&str>) -> Result<(), tonic::Status> {
    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut request = Request::new(futures::stream::iter([asked]));
    if let Some(token) = token {
        let value = format!("bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let answers = soon(ServerReflectionClient::new(channel.clone()).server_reflection_info(request)).await?;
    soon(answers.into_inner().message()).await?.unwrap();
    Ok(())
}

#[tokio::test]
async fn each_token_may_what_its_scopes_say() {
    let mount = Mount::new(&[("tokens.yaml", TOKENS)]);
    let service = Running::start(mount.access()).await;
    let channel = plain(service.address).await;
    let (ichat, board, robot) = ("token-of-ichat-0001", "token-of-board-0001", "token-of-robot-0001");

    list(&channel, Some(ichat)).await.unwrap();
    list(&channel, Some(board)).await.unwrap();
    assert_eq!(told(&list(&channel, Some(robot)).await.unwrap_err()), not_allowed());
    assert_eq!(told(&delete(&channel, Some(ichat)).await), not_found());
    assert_eq!(told(&delete(&channel, Some(robot)).await), not_found());
    let refused = delete(&channel, Some(board)).await;
    assert_eq!(told(&refused), not_allowed());
    let details = refused.get_error_details();
    let variables = &details.error_info().unwrap().metadata;
    assert_eq!(
        (variables["scope"].as_str(), variables["caller"].as_str()),
        ("control", "board")
    );
    assert!(refused.message().contains("`control`"), "{refused:?}");

    reflect(&channel, Some(board)).await.unwrap();
    assert_eq!(told(&reflect(&channel, Some(robot)).await.unwrap_err()), not_allowed());
    assert_eq!(told(&reflect(&channel, None).await.unwrap_err()), missing());
    live(&channel).await.unwrap();
    live(&plain(service.health).await).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn whoever_shows_nothing_or_something_wrong_learns_nothing() {
    let mount = Mount::new(&[("tokens.yaml", TOKENS)]);
    let service = Running::start(mount.access()).await;
    let channel = plain(service.address).await;
    assert_eq!(told(&list(&channel, None).await.unwrap_err()), missing());
    assert_eq!(told(&delete(&channel, None).await), missing());
    let right = "token-of-ichat-0001";
    let longer = format!("{right}1");
    let mut answers = Vec::new();
    for wrong in [
        "token-of-ichat-0002",
        "token-of-ichat-000",
        &longer,
        "TOKEN-OF-ICHAT-0001",
        "x",
        "",
    ] {
        for status in [
            list(&channel, Some(wrong)).await.unwrap_err(),
            delete(&channel, Some(wrong)).await,
        ] {
            assert_eq!(told(&status), invalid(), "{wrong}");
            answers.push((status.message().to_owned(), status.details().to_vec()));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "one answer for all: {answers:?}");

    let mut client = ModelControlClient::new(channel);
    for values in [
        vec!["Basic dXNlcjpwYXNz"],
        vec!["Bearer token-of-ichat-0001", "Bearer token-of-board-0001"],
    ] {
        let mut request = Request::new(v1::ListRequest::default());
        for value in values {
            request.metadata_mut().append("authorization", value.parse().unwrap());
        }
        assert_eq!(told(&soon(client.list(request)).await.unwrap_err()), invalid());
    }
    service.stop().await;
}

#[tokio::test]
async fn a_method_that_nobody_serves_needs_credentials_too() {
    let mount = Mount::new(&[("tokens.yaml", TOKENS)]);
    let service = Running::start(mount.access()).await;
    let channel = plain(service.address).await;
    let call = |path: &'static str, token: Option<&'static str>| {
        let mut client = tonic::client::Grpc::new(channel.clone());
        async move {
            soon(client.ready()).await.unwrap();
            let mut request = Request::new(v1::ListRequest::default());
            if let Some(token) = token {
                let value = format!("Bearer {token}").parse().unwrap();
                request.metadata_mut().insert("authorization", value);
            }
            let path = http::uri::PathAndQuery::from_static(path);
            let codec = tonic_prost::ProstCodec::<v1::ListRequest, v1::ListResponse>::default();
            soon(client.unary(request, path, codec)).await.unwrap_err()
        }
    };
    let path = "/ichat.modelcontrol.v1.ModelControl/Explode";
    assert_eq!(told(&call(path, None).await), missing());
    assert_eq!(told(&call(path, Some("token-of-board-0001")).await), not_allowed());
    let unknown = call(path, Some("token-of-ichat-0001")).await;
    assert_eq!(told(&unknown), (Code::Unimplemented, "METHOD_UNKNOWN".to_owned()));
    service.stop().await;
}
