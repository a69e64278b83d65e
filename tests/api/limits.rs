//! What arrives is bounded, and every status has our form.

use super::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_tonic_answers_by_itself_has_our_form() {
    let service = Service::start(Scripted::new(), None).await;
    let mut client = service.client().await;
    let status = soon(client.show(v1::ShowRequest::default())).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unimplemented, "METHOD_UNKNOWN")
    );
    let large = v1::PullRequest {
        model: "x".repeat(1 << 20),
        ..Default::default()
    };
    let status = soon(client.pull(large)).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
    );
    let status = soon(client.pull(pull("a b"))).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "MODEL_NAME_INVALID")
    );
    let zipped = client.clone().send_compressed(tonic::codec::CompressionEncoding::Gzip);
    soon({ zipped }.list(v1::ListRequest::default()))
        .await
        .expect("gzip is accepted");
    service.stop().await;
}
