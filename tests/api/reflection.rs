//! Reflection tells all that is served, and nothing else.

use std::collections::BTreeSet;

use model_control::grpc::proto::DESCRIPTORS;
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use super::{calls::*, support::*};

const REFLECTION: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Service and method of everything in our own contract.
fn methods() -> Vec<(String, String)> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut methods = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let full = format!("{}.{}", file.package(), service.name());
            methods.extend(
                service
                    .method
                    .iter()
                    .map(|method| (full.clone(), method.name().to_owned())),
            );
        }
    }
    assert!(methods.len() >= 19, "{methods:?}");
    methods
}

/// The two versions differ in nothing but their package.
macro_rules! reflected {
    ($version:ident, $service:expr, $request:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let request: (&str, &str) = $request;
        let message_request = match request {
            ("list", _) => MessageRequest::ListServices(String::new()),
            ("file", name) => MessageRequest::FileByFilename(name.to_owned()),
            (_, symbol) => MessageRequest::FileContainingSymbol(symbol.to_owned()),
        };
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(message_request),
        };
        let mut client = ServerReflectionClient::new($service.channel().await);
        let mut answers = soon(client.server_reflection_info(futures::stream::iter([request])))
            .await
            .unwrap()
            .into_inner();
        let answer = match soon(answers.message()).await {
            Ok(answer) => answer.unwrap().message_response.unwrap(),
            // The reflection service ends its stream so, rather than answer with an error in it.
            Err(status) => return Err(status.code()),
        };
        match answer {
            MessageResponse::ListServicesResponse(list) => {
                Ok((list.service.into_iter().map(|s| s.name).collect(), vec![]))
            }
            MessageResponse::FileDescriptorResponse(files) => Ok((vec![], files.file_descriptor_proto)),
            other => panic!("{other:?}"),
        }
    }};
}

type Reflected = Result<(Vec<String>, Vec<Vec<u8>>), Code>;

async fn ask(service: &Service, version: usize, what: &str, name: &str) -> Reflected {
    if version == 0 {
        reflected!(v1, service, (what, name))
    } else {
        reflected!(v1alpha, service, (what, name))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_tell_every_service_and_its_files() {
    let service = Service::start(Scripted::new(), None).await;
    let methods = methods();
    let mut expected: BTreeSet<_> = methods.iter().map(|(service, _)| service.as_str()).collect();
    assert_eq!(
        expected,
        BTreeSet::from([
            "grpc.health.v1.Health",
            "ichat.modelcontrol.v1.ModelControl",
            "ichat.modelcontrol.v1.Operations"
        ])
    );
    expected.extend(REFLECTION);
    for version in 0..REFLECTION.len() {
        let (listed, _) = ask(&service, version, "list", "").await.unwrap();
        let listed: BTreeSet<_> = listed.iter().map(String::as_str).collect();
        assert_eq!(listed, expected);
        for name in &expected {
            let (_, files) = ask(&service, version, "symbol", name).await.unwrap();
            let found = files.iter().any(|file| {
                let file = FileDescriptorProto::decode(file.as_slice()).unwrap();
                let full = |service: &str| format!("{}.{service}", file.package());
                file.service.iter().any(|service| full(service.name()) == *name)
            });
            assert!(found, "{name}");
        }
        assert_eq!(
            ask(&service, version, "symbol", "no.such.Symbol").await.unwrap_err(),
            Code::NotFound
        );
    }
    // Symbols of every kind, and files by their names with what they import.
    for symbol in [
        "ichat.modelcontrol.v1.ModelControl.EnsureReady",
        "ichat.modelcontrol.v1.Progress",
        "ichat.modelcontrol.v1.Progress.Layer",
        "ichat.modelcontrol.v1.Level",
        "grpc.health.v1.HealthListResponse",
        "google.protobuf.Timestamp",
    ] {
        ask(&service, 0, "symbol", symbol).await.expect(symbol);
    }
    for file in &FileDescriptorSet::decode(DESCRIPTORS).unwrap().file {
        let asked = ask(&service, 0, "file", file.name()).await;
        assert!(asked.is_ok(), "{}", file.name());
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_of_the_contract_is_there() {
    let service = Service::start(Scripted::new(), None).await;
    for (full, method) in methods() {
        if full.ends_with("Health") && method == "Watch" {
            // Its stream has no end; other tests read it.
            continue;
        }
        let answer = raw(&service, &format!("/{full}/{method}"), &[], frame(false, b"")).await;
        let status = status_of(&answer);
        assert!(
            [Code::Ok, Code::InvalidArgument].contains(&status.code()),
            "{full}.{method}: {status:?}"
        );
    }
    service.stop().await;
}
